/** Work of the host in the command stream: what goes out to it, and what comes back in its place. */

import { checkRange, messageOf } from './checks.js';
import { DeviceError, DroppedError, formatBytes } from './errors.js';
import { upload } from './encoder.js';
import type { HostStepParts } from './host-parts.js';
import { WaitingLine } from './line.js';
import type { DeviceBuffer } from './pool.js';
import { runtime } from './lifecycle.js';
import { mapForReading } from './readback.js';

/** Where a value goes that the host has made. */
export interface HostTarget {
  readonly buffer: DeviceBuffer;
  /** In bytes, a multiple of 4. */
  readonly offset: number;
  readonly bytes: number;
}

export class HostSteps {
  constructor(private readonly parts: HostStepParts) {}

  /**
   * Downloads whole words as they are after every command recorded so far, as `Runtime.read` does, for a step
   * that is recorded later: the read is not held back by that one, and leaves errors to other awaits.
   *
   * @throws (rejects) DroppedError when the values were not computed
   */
  async read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.check(buffer, offset, bytes);
    if (bytes === 0 || this.parts.isIdle()) return new ArrayBuffer(bytes);
    const { errors, stream, gate, commits, staging, waiter } = this.parts;
    const span = Math.ceil(bytes / 4) * 4;
    const host = staging.acquire(span);
    const { serial } = stream;
    let whole = false;
    commits.beginWait();
    try {
      stream.commands().copyBufferToBuffer(buffer.gpu, offset, host, 0, span);
      buffer.block.lastUse = serial;
      stream.count('read', span);
      stream.flush();
      await waiter.during(gate.later(() => mapForReading(this.parts, host, span)));
      const result = host.getMappedRange(0, span).slice(0, bytes);
      host.unmap();
      whole = true;
      // What is submitted has been checked then; what is held back is not waited for.
      await errors.settle();
      if (commits.isLost(serial)) throw new DroppedError();
      return result;
    } catch (cause) {
      if (cause instanceof DroppedError) throw cause;
      throw new DeviceError(
        `host step: '${buffer.label}' (${formatBytes(bytes)}) could not be read: ${messageOf(cause)}`,
        buffer.label,
        { cause },
      );
    } finally {
      if (whole) staging.release(host);
      else staging.discard(host);
      commits.endWait();
    }
  }

  /**
   * Has the host write `values` into `targets`, one for each, between the commands recorded so far and those
   * that are recorded from now on: these are held back on the host's side until `values` is there. Nothing
   * else waits: the caller goes on recording, and several steps may be under way. What `values` comes of must
   * not await anything that is recorded later.
   *
   * When `values` rejects, what has been recorded since does not happen, and the next await rejects with that
   * error, as for a batch that the GPU refused.
   */
  step(values: Promise<readonly ArrayBufferView[]>, targets: readonly HostTarget[]): void {
    for (const { buffer, offset, bytes } of targets) this.check(buffer, offset, bytes);
    if (this.parts.isIdle()) {
      values.catch(() => undefined);
      return;
    }
    this.parts.recording()?.refuse('values from outside of the GPU come into its middle');
    const { stream, gate } = this.parts;
    // What is recorded so far is not held back.
    stream.flush();
    const { serial } = stream;
    WaitingLine.close(gate, {
      done: values.then((given) => () => {
        this.write(given, targets);
      }),
      failed: (error) => {
        this.fail(serial, error);
      },
    });
  }

  private check(buffer: DeviceBuffer, offset: number, bytes: number): void {
    const { errors } = this.parts;
    if (errors.fatal) throw errors.fatal;
    checkRange('host step', buffer, offset, bytes, 4);
  }

  private write(values: readonly ArrayBufferView[], targets: readonly HostTarget[]): void {
    const { device, errors } = this.parts;
    if (errors.fatal) throw errors.fatal;
    targets.forEach(({ buffer, bytes }, i) => {
      const got = values[i]?.byteLength;
      if (got !== bytes)
        throw new DeviceError(
          `host step: '${buffer.label}' takes ${bytes} bytes, the host gave ${got ?? 'none'}.`,
          buffer.label,
        );
    });
    targets.forEach(({ buffer, offset }, i) => {
      upload(device.queue, buffer, offset, values[i] as ArrayBufferView);
    });
  }

  /**
   * Batch `serial` and those after it, which were to see the host's values, count as such that did not run.
   */
  private fail(serial: number, error: unknown): void {
    const { errors, commits } = this.parts;
    commits.dropped(serial);
    if (errors.fatal) return;
    // Why there was nothing to read is said where that arose.
    if (error instanceof DroppedError) return;
    errors.record(
      error instanceof DeviceError
        ? error
        : new DeviceError(`host step: ${messageOf(error)}`, 'host step', { cause: error }),
    );
  }
}

/** Host steps on the device that runs. */
export const hostSteps = (): HostSteps => new HostSteps(runtime().hostParts);
