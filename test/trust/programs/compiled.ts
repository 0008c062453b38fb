import { compile, noGrad, tensor, tidy, type Tensor } from '../../../src/index.js';
import { programOf } from './campaign.js';
import { runAll } from './engine.js';
import { interpret } from './interpret.js';
import type { Program } from './statements.js';

/* Random programs through `k.compile`: whatever is replayed gives the bits of the first call. */

export interface CompiledReport {
  functions: number;
  replayed: number;
  /** Why others were not. */
  readonly reasons: Map<string, number>;
  /** Seeds of functions whose replays gave something else. */
  readonly wrong: number[];
}

/** Results and gradients, as numbers that tell NaN from NaN. */
async function bits(results: readonly Tensor[]): Promise<string> {
  const all = await Promise.all(results.map((result) => result.data()));
  return all.map((data) => new Uint32Array(new Float32Array(data).buffer).join()).join(';');
}

/** Not where a leaf is changed for the calls to come, by a hook above all. */
const isRepeatable = (program: Program): boolean =>
  !program.some(({ op }) => /hook|retainGrad|requiresGrad|detach_/i.test(op));

/** A program as a function: what its registers hold at the end, and gradients. */
function asFunction(program: Program): () => Tensor[] {
  const leaves = new Map<
    number,
    { readonly tensor: Tensor; readonly values: number[]; readonly shape: number[] }
  >();
  for (const { op, args, out } of program) {
    if (op !== 'leaf' || args.requiresGrad !== true) continue;
    const { values, shape } = args as { values: number[]; shape: number[] };
    leaves.set(out[0] as number, { tensor: tensor(values).reshape(shape).requiresGrad_(), values, shape });
  }
  const rest = program.filter(({ out }) => !leaves.has(out[0] as number));
  return () => {
    const registers: (Tensor | undefined)[] = [];
    // As parameters they are there from call to call; that they begin anew is an upload within the call.
    for (const [register, { tensor: leaf, values, shape }] of leaves) {
      noGrad(() => leaf.copy_(tensor(values).reshape(shape)));
      leaf.grad = null;
      registers[register] = leaf;
    }
    runAll(rest, registers);
    const found = registers.filter((register) => register !== undefined);
    const grads = found.map(({ grad }) => grad).filter((grad) => grad !== null);
    return [...found, ...grads].map((register) => register.detach().clone());
  };
}

/** Calls each of several programs, one after the other in one function, four times. */
export async function compiledCampaign(
  functions: number,
  seed: number,
  progress: (report: CompiledReport) => void = () => {},
): Promise<CompiledReport> {
  const report: CompiledReport = { functions: 0, replayed: 0, reasons: new Map(), wrong: [] };
  for (let next = seed; report.functions < functions;) {
    const first = next;
    const programs: Program[] = [];
    while (programs.length < 3) {
      const program = programOf(next++);
      if (interpret(program)?.refused === null && isRepeatable(program)) programs.push(program);
    }
    // What the first two held is free for the third one's leaves.
    const parts = programs.map(asFunction);
    const fn = compile(() => parts.flatMap((part) => tidy(part)));
    try {
      const expected = await bits(fn());
      for (let call = 1; call < 4; call++) {
        if ((await bits(fn())) === expected) continue;
        report.wrong.push(first);
        break;
      }
    } catch (error) {
      // What kindling refuses although PyTorch does not is the other campaign's affair.
      const reason = `throws: ${String(error).slice(0, 60)}`;
      report.reasons.set(reason, (report.reasons.get(reason) ?? 0) + 1);
    }
    const { replayed, reason } = fn.counts();
    report.functions++;
    report.replayed += replayed;
    if (reason !== null) report.reasons.set(reason, (report.reasons.get(reason) ?? 0) + 1);
    fn.reset();
    progress(report);
  }
  return report;
}
