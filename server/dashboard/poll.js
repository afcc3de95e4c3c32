// Asking again and again, while someone looks.

// every runs work at once and then ms after each end of it, but not while the page
// is hidden. It gives {now, stop}: now runs work soon, stop ends it. work handles
// its own errors.
export function every(ms, work) {
  let timer = 0;
  let running = false;
  let again = false;
  let stopped = false;
  const run = async () => {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    try {
      if (!document.hidden) await work();
    } finally {
      running = false;
      if (!stopped) timer = setTimeout(run, again ? 0 : ms);
    }
  };
  const shown = () => !document.hidden && run();
  document.addEventListener('visibilitychange', shown);
  run();
  return {
    now: run,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', shown);
    },
  };
}
