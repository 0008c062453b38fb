import { beforeAll, describe, expect, it } from 'vitest';
import { autograd, init, matmul, mul, pow, sum, tanh, tensor, type Tensor } from '../../src/index.js';

const { hessian, hvp, jacobian, jvp, vhp, vjp } = autograd.functional;

beforeAll(() => init());

const x = (): Tensor => tensor([0.5, -1, 2]);
const w = (): Tensor => tensor([[1, 2, 3], [0, 1, -1]]); // prettier-ignore
const layer = (a: Tensor, b: Tensor): Tensor => tanh(matmul(b, a));
const cubes = (a: Tensor): Tensor => mul(sum(pow(a, 3)), a.select(0, 0));

async function expectClose(got: unknown, want: unknown): Promise<void> {
  const flat = (await (got as Tensor).data()) as ArrayLike<number>;
  const values = (want as readonly unknown[]).flat(4) as number[];
  expect(flat).toHaveLength(values.length);
  values.forEach((value, i) => expect(flat[i]).toBeCloseTo(value, 4));
}

// Values are PyTorch 1.13's.
describe('torch.autograd.functional', () => {
  it('jacobian has a block per output and input', async () => {
    const [byX, byW] = jacobian(layer, [x(), w()]) as Tensor[];
    const [a, b] = [4.5, -3].map((z) => 1 - Math.tanh(z) ** 2) as [number, number];
    await expectClose(byX, [a, 2 * a, 3 * a, 0, b, -b]);
    expect(byW?.shape).toEqual([2, 2, 3]);
    await expectClose(byW, [a / 2, -a, 2 * a, 0, 0, 0, 0, 0, 0, b / 2, -b, 2 * b]);
  });

  it('vjp is v times the Jacobian, jvp the Jacobian times v', async () => {
    const [output, [byX]] = vjp(layer, [x(), w()], tensor([1, 2])) as [Tensor, Tensor[]];
    await expectClose(output, [Math.tanh(4.5), Math.tanh(-3)]);
    expect(byX?.shape).toEqual([3]);
    const ones = [tensor([1, 1, 1]), tensor([[1, 1, 1], [1, 1, 1]])]; // prettier-ignore
    const [, product] = jvp(layer, [x(), w()], ones);
    await expectClose(product, [0.0037, 0.0148]);
  });

  it('hessian, vhp and hvp agree', async () => {
    const matrix = hessian(cubes, x()) as Tensor;
    await expectClose(matrix, [[3, 3, 12], [3, -3, 0], [12, 0, 6]]); // prettier-ignore
    const v = tensor([1, 2, 3]);
    const want = [45, -3, 30];
    await expectClose(vhp(cubes, x(), v)[1], want);
    await expectClose(hvp(cubes, x(), v)[1], want);
  });

  it('with createGraph the result can be differentiated', async () => {
    const a = x().requiresGrad_();
    sum(hessian(cubes, a, { createGraph: true }) as Tensor).backward();
    // The sum is 12 a0² + 6 (a0 a1 + a0 a2 + a1² + a2²).
    await expectClose(a.grad, [18, -9, 27]);
    expect((jacobian((b: Tensor) => mul(b, b), x()) as Tensor).requiresGrad).toBe(false);
  });

  it('strict refuses what does not depend on an input; otherwise it is zeros', async () => {
    const constant = (a: Tensor, b: Tensor): Tensor => mul(a, 2).add(b.detach());
    const [, byB] = jacobian(constant, [x(), x()]) as Tensor[];
    await expectClose(byB, new Array<number>(9).fill(0));
    expect(() => jacobian(constant, [x(), x()], { strict: true })).toThrow('do not depend on input 1');
  });

  it('says what is wrong', () => {
    expect(() => hessian((a: Tensor) => mul(a, a), x())).toThrow('one tensor of one element');
    expect(() => vjp(layer, [x(), w()])).toThrow(
      'vjp: v can be left out only where the output is one tensor',
    );
    expect(() => vjp(layer, [x(), w()], x())).toThrow('v has shape [3], the output [2]');
    expect(() => jacobian(layer, [x(), w()], { strategy: 'forward-mode' as never })).toThrow('reverse-mode');
  });
});
