/** Where JavaScript waits for the GPU: downloads, and the errors that reject them. */

import type { Chain } from './chain.js';
import { messageOf } from './checks.js';
import { DataError, DeviceError, formatBytes } from './errors.js';
import type { FaultBuffer, FaultSites } from './faults.js';
import type { DeviceBuffer } from './pool.js';
import type { GroupGarbage } from './group-garbage.js';
import type { StreamParts } from './host-parts.js';
import { mapForReading, Readback } from './readback.js';

export interface AwaitParts extends StreamParts {
  readonly chain: Chain;
  readonly faults: FaultBuffer;
  readonly faultSites: FaultSites;
  readonly garbage: GroupGarbage;
  /** Work is submitted, and nothing is to be done until it is ready. */
  readonly onIdle: () => void;
}

export class Awaits {
  private readonly readback: Readback;

  constructor(private readonly parts: AwaitParts) {
    const { errors, staging, stream, onIdle } = parts;
    const submit = (): void => {
      if (errors.fatal) throw errors.fatal;
      stream.flush();
      onIdle();
    };
    this.readback = new Readback(staging, submit, (host, bytes) => this.mapped(host, bytes));
  }

  /** Submits the reads that wait for others. */
  sendReads(): void {
    this.readback.send();
  }

  /** As `Runtime.read`, of a range that has been checked. */
  async read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    const { readback } = this;
    const { stream, commits, faults, garbage } = this.parts;
    const start = offset - (offset % 4);
    const span = Math.ceil((offset + bytes - start) / 4) * 4;
    const recordBytes = faults.pendingBytes;
    const place = readback.reserve(span + recordBytes);
    const { serial } = stream;
    let ended = false;
    commits.beginWait();
    try {
      const encoder = stream.commands();
      encoder.copyBufferToBuffer(buffer.gpu, start, place.host, place.offset, span);
      const end = place.offset + span;
      if (recordBytes > 0) faults.snapshot(encoder, place.host, end);
      buffer.block.lastUse = serial;
      if (stream.count('read', span)) stream.flush();
      const mapped = await readback.mapped(place);
      const first = place.offset + offset - start;
      const result = mapped.slice(first, first + bytes);
      const record = mapped.slice(end, end + recordBytes);
      readback.end(place, false);
      ended = true;
      await this.raise(serial, record);
      if (garbage.isDue) await garbage.relieve();
      return result;
    } catch (cause) {
      if (!ended) readback.end(place, true);
      if (cause instanceof DeviceError || cause instanceof DataError) throw cause;
      await this.raise(serial);
      throw new DeviceError(
        `read: '${buffer.label}' (${formatBytes(bytes)}) could not be read: ${messageOf(cause)}`,
        buffer.label,
        { cause },
      );
    } finally {
      commits.endWait();
    }
  }

  /** As `Runtime.synchronize`. */
  async synchronize(): Promise<void> {
    const { errors, stream, gate, commits, faults, waiter, garbage, onIdle } = this.parts;
    if (errors.fatal) throw errors.fatal;
    // A read waits for all that is recorded before it, and brings what kernels raised.
    if (faults.armed) return void (await this.read(faults.buffer, 0, 4));
    stream.flush();
    const serial = stream.serial - 1;
    commits.beginWait();
    try {
      const done = gate.onSubmittedWorkDone();
      onIdle();
      await waiter.during(done);
      await this.raise(serial);
      if (garbage.isDue) await garbage.relieve();
    } catch (cause) {
      if (cause instanceof DeviceError) throw cause;
      await this.raise(serial);
      const why = messageOf(cause);
      throw new DeviceError(`synchronize: the GPU's work could not be waited for: ${why}`, 'synchronize', {
        cause,
      });
    } finally {
      commits.endWait();
    }
  }

  private async mapped(host: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    await this.parts.waiter.during(this.parts.gate.later(() => mapForReading(this.parts, host, bytes)));
    return host.getMappedRange(0, bytes);
  }

  /**
   * Throws what the GPU has complained about since the last await, and what was wrong with batch `serial`, or
   * else what kernels raised (their `record`, if it was read).
   */
  private async raise(serial: number, record?: ArrayBuffer): Promise<void> {
    const { errors, stream, gate, chain, commits, faults, faultSites } = this.parts;
    await errors.settle();
    // What builds on a batch that did not run is taken back with it, so it must all be known.
    while (commits.isBroken && !(errors.isSettled && gate.isOpen && !stream.hasWork)) {
      stream.flush();
      await gate.line?.opened();
      await errors.settle();
    }
    const error = errors.take();
    if (commits.isBroken && errors.fatal === undefined) {
      commits.rollBack(stream.serial, error ?? new DeviceError('GPU work was refused.'));
      chain.arm(stream.serial);
    }
    const failure = error ?? commits.failureOf(serial);
    const raised = record !== undefined && record.byteLength > 0;
    if (failure) {
      // One report is enough, and a batch that was refused has neither copied nor cleared the record.
      if (raised && failure !== errors.fatal) faults.clear(stream.commands());
      throw failure;
    }
    const fault = raised ? faultSites.errorOf(record) : undefined;
    if (fault) throw fault;
  }
}
