// The difference of two texts, line by line.

const maxCells = 4e6; // of the table that finds the longest common part

// diff gives [{kind: 'same' | 'out' | 'in', old, new, text}], where old and new are
// line numbers from 1.
export function diff(before, after) {
  const a = before.split('\n');
  const b = after.split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;

  const lines = [];
  let [i, j] = [0, 0];
  const same = () => lines.push({ kind: 'same', old: i += 1, new: j += 1, text: a[i - 1] });
  const out = () => lines.push({ kind: 'out', old: i += 1, text: a[i - 1] });
  const add = () => lines.push({ kind: 'in', new: j += 1, text: b[j - 1] });

  const [endA, endB] = [a.length - tail, b.length - tail];
  const common = commonLengths(a.slice(head, endA), b.slice(head, endB));
  while (i < head) same();
  while (i < endA || j < endB) {
    if (i < endA && j < endB && a[i] === b[j]) same();
    else if (j === endB || (i < endA && common(i - head + 1, j - head) >= common(i - head, j - head + 1))) out();
    else add();
  }
  while (i < a.length) same();
  return lines;
}

// commonLengths gives the length of the longest common subsequence of a[i…] and
// b[j…]. Texts too long for it have none, and differ as a whole.
function commonLengths(a, b) {
  const width = b.length + 1;
  if (a.length * width > maxCells) return () => 0;
  const cells = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      cells[i * width + j] = a[i] === b[j]
        ? cells[(i + 1) * width + j + 1] + 1
        : Math.max(cells[(i + 1) * width + j], cells[i * width + j + 1]);
    }
  }
  return (i, j) => cells[i * width + j];
}

// hunks keeps the lines within context of a change; null stands for those left out.
export function hunks(lines, context = 3) {
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - context), i + context + 1).some((l) => l.kind !== 'same'));
  return lines.flatMap((line, i) => (near[i] ? [line] : near[i - 1] || i === 0 ? [null] : []));
}
