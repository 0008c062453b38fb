/** What the compiler must make of Tensor's methods; checked by `npm run typecheck`. */
import { tensor, type Tensor } from '../../src/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const expect = <T extends true>(): T => true as T;

/** Members that no call or use of would compile. */
type Broken = { [K in keyof Tensor]: [Tensor[K]] extends [never] ? K : never }[keyof Tensor];
expect<Equal<Broken, never>>();

const x = tensor([[1, 2]]);
expect<Equal<ReturnType<typeof x.index>, Tensor>>();
x.index(0, [null, 1]).add(1, { alpha: 2 }).sum(0, { keepdim: true }).backward();
const [values, indices]: [Tensor, Tensor] = x.max(0);
values.add(indices);
expect<Equal<ReturnType<typeof x.split>, Tensor[]>>();
const largest: Tensor = x.max().max(x);
// Overloads are folded: one signature where the op has one.
expect<Equal<Parameters<typeof x.matmul>, [b: Tensor]>>();

// @ts-expect-error: a string is no operand
largest.add('1');
// @ts-expect-error: PyTorch's Tensor has no conv2d; it is a function
void x.conv2d;
// @ts-expect-error: unknown options are errors
x.add(1, { beta: 2 });
