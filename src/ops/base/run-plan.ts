import { runtime, type DeviceBuffer } from '../../device/index.js';
import type { Elem, PackedWeights, Plan, PlanLimits } from '../../kernels/base/plan.js';
import type { DType } from '../../tensor/dtype.js';
import { channelsLastStrides, contiguousStrides } from '../../tensor/shape.js';
import { Storage } from '../../tensor/storage.js';
import { Tensor } from '../../tensor/tensor.js';
import { launch } from './launch.js';

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

type Named = Readonly<Record<string, { readonly deviceBuffer: DeviceBuffer } | undefined>>;

/**
 * Allocates a plan's scratch and launches it. `weight` is the tensor that `plan.weights` packs; the packed
 * copy is kept with it until it changes.
 *
 * @internal
 */
export function runPlan(op: string, plan: Plan, operands: Named, weight?: Tensor): void {
  const rt = runtime();
  const { launches, workspaces, weights } = plan;
  const all: Record<string, Named[string]> = { ...operands };
  if (weight !== undefined) all['w'] = weights === undefined ? weight : packed(op, weights, weight);
  const scratch: DeviceBuffer[] = [];
  try {
    for (const name in workspaces) {
      const deviceBuffer = rt.alloc(workspaces[name] as number, `${op} (workspace)`);
      scratch.push(deviceBuffer);
      all[name] = { deviceBuffer };
    }
    launch(launches, all);
  } finally {
    // Later commands may reuse the scratch at once: the queue runs in order.
    for (const buffer of scratch) rt.free(buffer);
  }
}

const packed = (op: string, { key, bytes, launches }: PackedWeights, weight: Tensor): Storage =>
  weight.storage.derive(key, () => {
    const storage = new Storage(bytes, `${op} (packed weights)`);
    try {
      launch(launches, { weight, packed: storage });
    } catch (error) {
      storage.retain().release();
      throw error;
    }
    return storage;
  });

/** @internal A fresh result, channels-last when it has four dims. */
export function emptyResult(op: string, shape: readonly number[], dtype: DType): Tensor {
  return Tensor.empty(
    shape,
    dtype,
    op,
    shape.length === 4 ? channelsLastStrides(shape) : contiguousStrides(shape),
  );
}
