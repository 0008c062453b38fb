/** Where in the program the work being recorded belongs, while a profile is taken. */

/** A stretch of time in which JavaScript recorded work. */
export interface HostSpan {
  /** The module's class, the tape node, or the range's name. */
  readonly name: string;
  readonly kind: 'module' | 'backward' | 'range';
  /** The module's path; '' outside of modules. */
  readonly path: string;
  /** Milliseconds of `performance.now()`. */
  readonly startMs: number;
  readonly ms: number;
}

interface Open {
  readonly name: string;
  readonly kind: HostSpan['kind'];
  readonly path: string;
  readonly phase: Phase;
  readonly startMs: number;
}

/** `backward` in a backward pass, `forward` otherwise. */
export type Phase = 'forward' | 'backward';

export class Trail {
  path = '';
  phase: Phase = 'forward';
  readonly spans: HostSpan[] = [];
  private readonly open: Open[] = [];

  get depth(): number {
    return this.open.length;
  }

  enter(name: string, kind: HostSpan['kind'], path: string, phase: Phase = this.phase): void {
    this.open.push({ name, kind, path: this.path, phase: this.phase, startMs: performance.now() });
    this.path = path;
    this.phase = phase;
  }

  leave(): void {
    const before = this.open.pop();
    if (before === undefined) return;
    const { name, kind, startMs } = before;
    this.spans.push({ name, kind, path: this.path, startMs, ms: performance.now() - startMs });
    this.path = before.path;
    this.phase = before.phase;
  }

  /** Leaves until `depth` are open: after an exception some may still be. */
  unwind(depth: number): void {
    while (this.open.length > depth) this.leave();
  }
}

let trail: Trail | null = null;

/** @internal Null while no profile is taken. */
export const currentTrail = (): Trail | null => trail;

/** @internal */
export function setTrail(next: Trail | null): void {
  trail = next;
}
