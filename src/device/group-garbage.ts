import { DeviceError } from './errors.js';

/** With so many more than after the last collection, the next is due. */
const garbageGroups = 8192;
/** Dawn has a layout's bind groups made by so many. */
const poolSize = 512;
/** Leaves room for everything else that a process maps: shaders, buffers, libraries. */
const mostMapped = 56_000;

/** The bind groups of one layout. */
interface Tally {
  alive: number;
  /** The driver has made so many: the most that were alive at once, and the rest of a pool. */
  made: number;
}

/**
 * Bind groups have no `destroy`: one that is no longer kept lasts until the garbage collector has found it
 * and the event loop has turned. With Mesa's software driver each is a mapping of the process, which Dawn
 * then keeps for the next bind group of the same layout. Linux allows a process 65,530 of them; past that the
 * driver crashes. So they are counted there, collected while the script waits, and refused where it does not
 * wait.
 */
export class GroupGarbage {
  /** Runs the garbage collector. Nothing is counted without it: there would be nothing to do. */
  collect: (() => void) | null = null;
  private alive = 0;
  private mapped = 0;
  /** Above what the cache keeps, which is as many again. */
  private dueAt = 2 * garbageGroups;
  private relief: Promise<void> | null = null;
  private readonly tallies = new Map<object, Tally>();
  private readonly registry = new FinalizationRegistry<Tally>((tally) => {
    tally.alive--;
    this.alive--;
  });

  /** @throws DeviceError where one more for `layout` could be too many */
  admit(layout: object, op: string): void {
    if (this.collect === null || this.mapped + poolSize <= mostMapped) return;
    const tally = this.tallies.get(layout);
    if (tally !== undefined && tally.alive < tally.made) return;
    throw new DeviceError(
      `${op}: ${this.mapped} bind groups (one for each dispatch over other buffers) were made without a wait, in ` +
        'which the garbage collector could free them; this driver crashes soon after. Wait for the GPU in the loop ' +
        'now and then (`await loss.item()`, `await synchronize()`); `close()` and `init()` begin anew.',
      op,
    );
  }

  made(group: object, layout: object): void {
    if (this.collect === null) return;
    let tally = this.tallies.get(layout);
    if (tally === undefined) this.tallies.set(layout, (tally = { alive: 0, made: 0 }));
    this.alive++;
    if (++tally.alive > tally.made) {
      tally.made += poolSize;
      this.mapped += poolSize;
    }
    this.registry.register(group, tally);
    // For scripts that wait for something else than the GPU.
    if (this.isDue) void this.relieve();
  }

  get isDue(): boolean {
    return this.alive >= this.dueAt;
  }

  /** Collects in a later turn of the event loop, and resolves once what was found is free. */
  relieve(): Promise<void> {
    return (this.relief ??= this.collected());
  }

  private async collected(): Promise<void> {
    await turn();
    this.collect?.();
    // Finalizers run in turns of their own.
    await turn();
    await turn();
    this.dueAt = this.alive + garbageGroups;
    this.relief = null;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
