import { noMore } from '../tensor/options.js';
import type { Tensor } from '../tensor/tensor.js';

let enabled = false;

interface Finding {
  readonly op: string;
  readonly trace: string | undefined;
  readonly flag: Tensor;
}

let pending: Finding[] = [];

export const isAnomalyEnabled = (): boolean => enabled;

/** @internal */
export function noteGradient(op: string, trace: string | undefined, flag: Tensor): void {
  pending.push({ op, trace, flag: flag.keep() });
}

/**
 * `torch.autograd.detect_anomaly` around an async callback: every op recorded inside keeps its call stack,
 * every gradient is tested for NaN, and the first op (in backward order) that produced one rejects the
 * returned promise, naming the op and where its forward was called. Slow: for debugging.
 */
export async function detectAnomaly<R>(fn: () => R | Promise<R>): Promise<R> {
  noMore('detectAnomaly', arguments, 1);
  const before = enabled;
  enabled = true;
  try {
    const result = await fn();
    const findings = pending;
    pending = [];
    const flags = await Promise.all(findings.map((finding) => finding.flag.item()));
    for (const finding of findings) finding.flag.dispose();
    const bad = flags.findIndex((flag) => flag !== 0);
    if (bad >= 0) {
      const { op, trace } = findings[bad] as Finding;
      throw new Error(
        `detectAnomaly: the backward of ${op} produced NaN. Its forward was called at:\n${trace ?? '(unknown)'}`,
      );
    }
    return result;
  } finally {
    enabled = before;
    pending = [];
  }
}
