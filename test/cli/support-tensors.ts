import { loadCheckpoint } from '../../src/index.js';

/** The bytes of every tensor in a weight file, by key. */
export async function tensorBytes(path: string): Promise<Map<string, Buffer>> {
  const { tensors } = await loadCheckpoint(path);
  const entries = [...tensors].map(
    async ([key, tensor]) => [key, Buffer.from(await tensor.bytes())] as const,
  );
  return new Map(await Promise.all(entries));
}

/** Keys whose bytes differ between two weight files. */
export async function differingKeys(one: string, other: string): Promise<string[]> {
  const [a, b] = [await tensorBytes(one), await tensorBytes(other)];
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].filter((key) => !a.has(key) || !b.has(key) || !a.get(key)!.equals(b.get(key)!));
}
