import { derivedKey } from '../ops/random/state.js';
import { Random } from './random.js';

/** Number of the random stream that seeds are drawn from. */
const seedStream = 3;

/**
 * A seed for those who were given none. `manualSeed` governs it: the first one after `manualSeed(0)` is
 * always the same, and so is the second. Unlike PyTorch's it is not drawn from the global stream, which stays
 * where it is: what is drawn afterwards does not depend on how many loaders there are.
 */
export function derivedSeed(): number {
  const { seed, offset } = derivedKey();
  return new Random(seed, seedStream, offset).uint32();
}
