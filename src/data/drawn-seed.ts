import { nextKey } from '../ops/random/state.js';
import { Random } from './random.js';

/** Number of the random stream that seeds are drawn from. */
const seedStream = 3;

/**
 * A seed for those who were given none, as PyTorch draws one: from the global stream, so that `manualSeed`
 * governs it.
 */
export function drawnSeed(): number {
  const { seed, offset } = nextKey();
  return new Random(seed, seedStream, offset).uint32();
}
