import { currentInterceptor, intercepting } from '../../autograd/mode.js';
import { runtime, type BufferArg, type DeviceBuffer, type Runtime } from '../../device/index.js';
import type { Access } from '../../kernels/base/kernel.js';
import { forBuffer, type BufferRef, type ByBuffer, type Launch } from '../../kernels/base/plan.js';

/** What launches bind: tensors or storages, by the names (or positions) that the launches have for them. */
export type Operands = ByBuffer<{ readonly deviceBuffer: DeviceBuffer }>;

function bind({ maxBinding }: Runtime, { kernel, buffers }: Launch, operands: Operands): BufferArg[] {
  const bound = new Array<BufferArg>(buffers.length);
  for (let i = 0; i < buffers.length; i++) {
    const ref = buffers[i] as BufferRef;
    const whole = typeof ref !== 'object';
    const name = whole ? ref : ref.name;
    const buffer = forBuffer(operands, name)?.deviceBuffer;
    if (buffer === undefined) throw new Error(`internal: ${kernel.name} has no buffer '${name}'`);
    // A buffer that can be is bound whole, so that launches share bind groups.
    if (buffer.capacity <= maxBinding && (whole || ref.offset === 0)) bound[i] = buffer;
    else
      bound[i] = whole
        ? { buffer, offset: 0, size: maxBinding }
        : { buffer, offset: ref.offset, size: ref.size };
  }
  return bound;
}

/** What `launches` bind for `access`, scratch included. */
const boundFor = (launches: readonly Launch[], operands: Operands, access: Access): object[] =>
  launches.flatMap(({ kernel, buffers }) =>
    kernel.bindings.flatMap((how, i) => {
      const ref = buffers[i];
      if (how !== access || ref === undefined) return [];
      return [forBuffer(operands, typeof ref === 'object' ? ref.name : ref) as object];
    }),
  );

/** @internal Dispatches launches in order. */
export function launch(launches: readonly Launch[], operands: Operands): void {
  const rt = runtime();
  if (intercepting)
    currentInterceptor()?.launching?.(
      boundFor(launches, operands, 'read'),
      boundFor(launches, operands, 'write'),
    );
  for (const one of launches) rt.dispatch(one.kernel, bind(rt, one, operands), one.params, one.grid);
}

/** @internal A launch with its buffers in place, for `Runtime.commit`. */
export const bound = (one: Launch, operands: Operands): Launch<BufferArg> => ({
  kernel: one.kernel,
  buffers: bind(runtime(), one, operands),
  params: one.params,
  grid: one.grid,
});
