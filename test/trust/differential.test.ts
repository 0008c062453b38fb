import { beforeAll, describe, expect, it } from 'vitest';
import { init } from '../../src/index.js';
import { campaign, describe as print, programOf, smallest, type Finding } from './programs/campaign.js';
import { compare } from './programs/compare.js';
import { Engine } from './programs/engine.js';
import { interpret } from './programs/interpret.js';
import type { Program, Statement } from './programs/statements.js';

const statement = (op: string, on: number[], args: Statement['args'], ...out: number[]): Statement => ({
  op,
  on,
  args,
  out,
});
const leaf = (register: number, values: number[], requiresGrad = false): Statement =>
  statement('leaf', [], { shape: [values.length], values, requiresGrad }, register);
const backward = (...on: number[]): Statement =>
  statement('backward', on, { seeds: [1], retainGraph: false });
const gradient = (program: Program, register: number): number[] | null => {
  const grad = interpret(program)?.registers.get(register)?.grad ?? null;
  return grad === null ? null : Array.from(grad);
};

describe('the reference interpreter', () => {
  it('sends the gradient of a write into a view to its source', () => {
    const program = [
      leaf(0, [0, 0, 0]),
      leaf(1, [1, 2], true),
      statement('narrow', [0], { dim: 0, start: 0, length: 2 }, 2),
      statement('copy_', [2, 1], {}),
      backward(0),
    ];
    expect(gradient(program, 1)).toEqual([1, 1]);
  });

  it('sums the gradients of overlapping elements of a view that a write has renewed', () => {
    const program = [
      leaf(0, [1, 1], true),
      statement('mulNumber', [0], { value: 1 }, 1),
      statement('expand', [1], { sizes: [2, 2] }, 2),
      statement('mulNumber_', [1], { value: 3 }),
      backward(2),
    ];
    expect(gradient(program, 0)).toEqual([6, 6]);
  });

  it('lets a view of unbind give up grad that it asked for itself', () => {
    const program = [
      leaf(0, [1, 2]),
      statement('unbind', [0], { dim: 0 }, 1, 2),
      statement('mulNumber_', [1], { value: 3 }),
      statement('requiresGrad_', [2], { value: true }),
      statement('requiresGrad_', [2], { value: false }),
      backward(2),
    ];
    expect(interpret(program)?.refused).toEqual({ at: 5, kind: 'no grad' });
  });

  it('refuses what PyTorch refuses, and says where and why', () => {
    const program = [
      leaf(0, [1, 2], true),
      statement('exp', [0], {}, 1),
      statement('zero_', [1], {}),
      backward(1),
    ];
    // `zero_` passes no gradient on, but `exp` checks what it has saved all the same.
    expect(interpret(program)?.refused).toEqual({ at: 3, kind: 'version' });
  });
});

describe('random programs', () => {
  let engine: Engine;
  beforeAll(async () => {
    await init();
    engine = new Engine();
  });

  it('come from their seeds', () => {
    expect(programOf(7)).toEqual(programOf(7));
    expect(programOf(7)).not.toEqual(programOf(8));
  });

  it('shrink to the statements that a difference needs', async () => {
    // A stand-in for an engine that does `exp` wrong.
    const seed =
      Array.from({ length: 200 }, (_, i) => i).find((s) => programOf(s).some(({ op }) => op === 'exp')) ?? 0;
    const finding: Finding = { kind: 'exp', seed, program: programOf(seed), detail: '', count: 1 };
    const small = await smallest(finding, (list) =>
      Promise.resolve(
        list.map((program) =>
          program.some(({ op }) => op === 'exp') ? { kind: 'exp', detail: 'wrong' } : null,
        ),
      ),
    );
    expect(small.program.map(({ op }) => op)).toEqual(['leaf', 'exp']);
  });

  it('notice a value, a gradient or a refusal that is not as it should be', () => {
    const outcome = interpret([leaf(0, [1, 2], true), statement('exp', [0], {}, 1), backward(1)]);
    if (outcome === null) throw new Error('is defined');
    const changed = (change: object) => ({
      ...outcome,
      registers: new Map([...outcome.registers].map(([r, state]) => [r, { ...state, ...change }])),
    });
    expect(compare(outcome, outcome, 1e-6)).toBeNull();
    expect(compare(outcome, changed({ values: [1, 2.1] }), 1e-6)?.kind).toBe('values');
    expect(compare(outcome, changed({ grad: null }), 1e-6)?.kind).toBe('no gradient');
    expect(compare({ ...outcome, refused: { at: 2, kind: 'version' } }, outcome, 1e-6)?.kind).toBe(
      'accepted: version',
    );
  });

  it('do on the engine what they do on the reference', async () => {
    const report = await campaign(engine, { programs: 60, seed: 1 });
    expect([...report.mismatches.values()].map(print)).toEqual([]);
    expect(report.programs).toBe(60);
  });
});
