// check runs one check and prints its outcome as a line of JSON for browser_test.go.
export async function check(name, body) {
  const line = { name, ok: true };
  const began = Date.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('not done within 60 s')), 60_000);
  });
  try {
    line.detail = await Promise.race([body(), late]);
  } catch (error) {
    line.ok = false;
    line.detail = String(error?.stack ?? error).slice(0, 3000);
  } finally {
    clearTimeout(timer);
  }
  line.ms = Date.now() - began;
  console.log(JSON.stringify(line));
}
