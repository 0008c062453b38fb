import { runtime, type BufferArg, type DeviceBuffer } from '../device/index.js';
import type { BufferRef, Elem, Plan, PlanLimits } from '../kernels/base/plan.js';
import type { DType } from '../tensor/dtype.js';
import { channelsLastStrides, contiguousStrides } from '../tensor/shape.js';
import { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';

/** @internal */
export function planLimits(): PlanLimits {
  const rt = runtime();
  return { maxBinding: rt.maxBinding, offsetAlignment: rt.limits.minStorageBufferOffsetAlignment };
}

/** @internal The heavy kernels compute in float32 and store float32 or float16. */
export function elemOf(op: string, dtype: DType): Elem {
  if (dtype === 'float32') return 'f32';
  if (dtype === 'float16') return 'f16';
  throw new Error(
    `${op}: expected a float32 or float16 tensor, got ${dtype}; convert it with .to('float32')`,
  );
}

/**
 * Allocates a plan's scratch, binds its symbolic names and dispatches. `weight` is the tensor that `plan.weights` packs; the packed
 * copy is kept with it until it changes.
 *
 * @internal
 */
export function runPlan(
  op: string,
  plan: Plan,
  buffers: Readonly<Record<string, Tensor>>,
  weight?: Tensor,
): void {
  const rt = runtime();
  const named: Record<string, DeviceBuffer> = {};
  for (const name in buffers) named[name] = (buffers[name] as Tensor).deviceBuffer;
  const { weights, workspaces } = plan;
  if (weights !== undefined) {
    const source = weight as Tensor;
    const packed = source.storage.derive(weights.key, () => {
      const storage = new Storage(weights.bytes, `${op} (packed weights)`);
      named['weight'] = source.deviceBuffer;
      named['packed'] = storage.deviceBuffer;
      try {
        dispatchAll(op, weights.launches, named);
      } catch (error) {
        storage.retain().release();
        throw error;
      }
      return storage;
    });
    named['w'] = packed.deviceBuffer;
  } else if (weight !== undefined) {
    named['w'] = weight.deviceBuffer;
  }
  const scratch: DeviceBuffer[] = [];
  try {
    for (const name in workspaces) {
      scratch.push((named[name] = rt.alloc(workspaces[name] as number, `${op} (workspace)`)));
    }
    dispatchAll(op, plan.launches, named);
  } finally {
    // Later commands may reuse the scratch at once: the queue runs in order.
    for (const buffer of scratch) rt.free(buffer);
  }
}

function dispatchAll(
  op: string,
  launches: Plan['launches'],
  named: Readonly<Record<string, DeviceBuffer>>,
): void {
  const rt = runtime();
  for (const { kernel, buffers, params, grid } of launches) {
    const args = new Array<BufferArg>(buffers.length);
    for (let i = 0; i < buffers.length; i++) {
      const ref = buffers[i] as BufferRef;
      const whole = typeof ref === 'string';
      const buffer = named[whole ? ref : ref.name];
      if (buffer === undefined) throw new Error(`internal: ${op} has no buffer '${whole ? ref : ref.name}'`);
      args[i] =
        whole || (ref.offset === 0 && buffer.capacity <= rt.maxBinding)
          ? buffer
          : { buffer, offset: ref.offset, size: ref.size };
    }
    rt.dispatch(kernel, args, params, grid);
  }
}

/** @internal A fresh result, channels-last when it has four dims. */
export function emptyResult(op: string, shape: readonly number[], dtype: DType): Tensor {
  return Tensor.empty(
    shape,
    dtype,
    op,
    shape.length === 4 ? channelsLastStrides(shape) : contiguousStrides(shape),
  );
}
