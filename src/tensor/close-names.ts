/** Those of `names` that `wrong` may be a slip for, closest first. */
export function closeNames(wrong: string, names: readonly string[]): string[] {
  const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '');
  const target = plain(wrong);
  const scored = names.map((name) => {
    const candidate = plain(name);
    const contained = target.length >= 3 && (candidate.includes(target) || target.includes(candidate));
    const edits = editDistance(target, candidate);
    return { name, edits, distance: contained ? 1 : edits };
  });
  const limit = Math.max(2, Math.floor(target.length / 3));
  return scored
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || a.edits - b.edits)
    .slice(0, 4)
    .map(({ name }) => name);
}

/** Levenshtein's distance: insertions, deletions and replacements of one character. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
