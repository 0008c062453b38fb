/** The command stream: one open encoder with at most one open compute pass, and when it is submitted. */

import { DeviceError, type ErrorLog } from './errors.js';

/** A batch is submitted at this many dispatches or bytes bound ... */
const batchDispatches = 64;
const batchBytes = 64 * 1024 ** 2;
/** ... and the first one after the GPU fell idle sooner, so that it works while the next is recorded. */
const firstDispatches = 16;
/** With this many submits unfinished the batch grows instead, up to `maxDispatches`: the GPU has enough to do. */
const maxInFlight = 4;
const maxDispatches = 512;
/** A batch that is held back is submitted at this many all the same. */
const maxHeld = 2048;

export class CommandStream {
  /** Number of the open (or next) encoder; a buffer whose last use equals it is in unsubmitted work. */
  serial = 1;
  pass: GPUComputePassEncoder | undefined;
  /** What the open pass has set. */
  pipeline: GPUComputePipeline | undefined;
  group: GPUBindGroup | undefined;
  private held = false;
  private encoder: GPUCommandEncoder | undefined;
  private ops: string[] = [];
  private bytes = 0;
  private inFlight = 0;
  private readonly finished = (): void => void this.inFlight--;

  constructor(
    private readonly device: GPUDevice,
    private readonly errors: ErrorLog,
    private readonly beforeSubmit: () => void,
    private readonly afterSubmit: () => void,
  ) {}

  /** Work is submitted that has not finished. */
  get isBusy(): boolean {
    return this.inFlight > 0;
  }

  beginPass(timestampWrites?: GPUComputePassTimestampWrites): GPUComputePassEncoder {
    this.endPass();
    this.encoder ??= this.device.createCommandEncoder();
    this.pass = this.encoder.beginComputePass(timestampWrites && { timestampWrites });
    return this.pass;
  }

  endPass(): void {
    if (this.pass === undefined) return;
    this.pass.end();
    this.pass = undefined;
    this.pipeline = undefined;
    this.group = undefined;
  }

  /** The encoder, for commands outside a pass. */
  commands(): GPUCommandEncoder {
    this.endPass();
    return (this.encoder ??= this.device.createCommandEncoder());
  }

  /** Lets the open batch grow until something waits for it. */
  hold(): void {
    this.held = true;
  }

  /** Counts a command; true when the batch is due. */
  count(op: string, bytes: number): boolean {
    const n = this.ops.push(op);
    this.bytes += bytes;
    if (this.held) return n >= maxHeld;
    if (n < firstDispatches) return this.bytes >= batchBytes && this.inFlight < maxInFlight;
    if (this.inFlight === 0) return true;
    if (this.inFlight < maxInFlight) return n >= batchDispatches || this.bytes >= batchBytes;
    return n >= maxDispatches;
  }

  flush(): void {
    const { encoder, ops, device } = this;
    if (encoder === undefined) return;
    this.endPass();
    this.encoder = undefined;
    this.held = false;
    this.ops = [];
    this.bytes = 0;
    this.beforeSubmit();
    device.pushErrorScope('validation');
    device.queue.submit([encoder.finish()]);
    this.errors.track(
      device.popErrorScope().then((error) => {
        if (error !== null) this.errors.record(batchError(error.message, ops));
      }),
    );
    this.serial++;
    this.inFlight++;
    device.queue.onSubmittedWorkDone().then(this.finished, this.finished);
    this.afterSubmit();
  }
}

/** Objects carry their op's name as a label, which Dawn quotes; otherwise the batch's ops are named. */
function batchError(message: string, ops: readonly string[]): DeviceError {
  const names = [...new Set(ops)];
  const op = names.find((name) => message.includes(`"${name}"`));
  const where = op ?? (names.length > 6 ? `${names.slice(0, 6).join(', ')}, ...` : names.join(', '));
  return new DeviceError(`GPU validation error in ${where || 'a copy'}: ${message}`, op ?? names[0]);
}
