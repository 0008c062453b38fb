/** Staging buffers for reads: kept for reuse, and shared by reads that are under way together. */

import type { DeviceError, ErrorLog } from './errors.js';
import type { Gate } from './gate.js';
import { bufferUsage, sizeClass } from './pool.js';

/** Idle staging memory beyond this is destroyed. */
const keepBytes = 64 * 1024 ** 2;

export class StagingPool {
  private readonly free: GPUBuffer[] = [];
  /** Bytes held, in use or idle. */
  bytes = 0;
  private idleBytes = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly errors: ErrorLog,
    private readonly gate: Gate,
    /** Called before a buffer is made. */
    private readonly makeRoom: (bytes: number) => void,
    /** Bytes that the memory budget leaves. */
    private readonly left: () => number,
    private readonly outOfMemory: (bytes: number, reason: string) => DeviceError,
  ) {}

  acquire(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const index = this.free.findLastIndex((b) => b.size === size);
    if (index >= 0) {
      this.idleBytes -= size;
      return this.free.splice(index, 1)[0]!;
    }
    this.makeRoom(size);
    this.device.pushErrorScope('out-of-memory');
    try {
      const usage = bufferUsage.mapRead | bufferUsage.copyDst;
      const buffer = this.device.createBuffer({ label: 'read', size, usage });
      this.bytes += size;
      return buffer;
    } catch (cause) {
      throw this.outOfMemory(size, cause instanceof Error ? cause.message : String(cause));
    } finally {
      this.errors.track(
        this.device.popErrorScope().then((error) => {
          if (error !== null) this.errors.record(this.outOfMemory(size, error.message));
        }),
      );
    }
  }

  /** Whether `bytes` more than are asked for would be a small part of what the memory budget leaves. */
  canSpare(bytes: number): boolean {
    return bytes <= 0.01 * this.left();
  }

  /** Takes back an unmapped buffer. */
  release(buffer: GPUBuffer): void {
    this.free.push(buffer);
    this.idleBytes += buffer.size;
    this.trim(keepBytes);
  }

  /** Destroys idle buffers, oldest first, until `keep` bytes are left. */
  trim(keep = 0): void {
    while (this.idleBytes > keep) this.idleBytes -= this.discard(this.free.shift()!);
  }

  /** Destroys a buffer in use. Returns its size. */
  discard(buffer: GPUBuffer): number {
    this.bytes -= buffer.size;
    this.gate.destroy(buffer);
    return buffer.size;
  }
}

/** So many staging buffers are on their way at once; the reads after them share the next. */
const maxInFlight = 16;
/** Size of a staging buffer that reads share ... */
const pageBytes = 256 * 1024;
/** ... if they are no larger than this. */
const shareBytes = 64 * 1024;

/** A staging buffer and the reads that share it. */
class Page {
  used = 0;
  reads = 0;
  /** A read of it failed: it is not used again. */
  broken = false;
  readonly mapped: Promise<ArrayBuffer>;
  resolve!: (mapped: ArrayBuffer) => void;
  reject!: (reason: unknown) => void;

  constructor(readonly host: GPUBuffer) {
    this.mapped = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Each read hears of it; there may be none left.
    this.mapped.catch(() => undefined);
  }
}

/** Where the copy for a read goes. */
export interface Place {
  readonly page: Page;
  readonly host: GPUBuffer;
  readonly offset: number;
}

/**
 * Maps staging buffers. A read has one of its own and is submitted at once, unless many are under way: those
 * that come then are copied side by side, and go together when one of the others is back. Every buffer that
 * can be mapped is a mapping of the process in some drivers, and Linux allows a process 65,530 of them: with
 * one for each of as many reads the driver crashes.
 */
export class Readback {
  private inFlight = 0;
  private open: Page[] = [];

  constructor(
    private readonly staging: StagingPool,
    private readonly submit: () => void,
    private readonly map: (host: GPUBuffer, bytes: number) => Promise<ArrayBuffer>,
  ) {}

  /** Room for `bytes` (a multiple of 4), until {@link end}. */
  reserve(bytes: number): Place {
    const last = this.open.at(-1);
    const fits = last !== undefined && last.used + bytes <= last.host.size;
    const page = fits ? last : this.openPage(bytes);
    const offset = page.used;
    page.used += bytes;
    page.reads++;
    return { page, host: page.host, offset };
  }

  /** What has been copied to the staging buffer of `place`, once the GPU has done it. */
  mapped({ page }: Place): Promise<ArrayBuffer> {
    if (this.inFlight < maxInFlight) this.send();
    return page.mapped;
  }

  /** A read has taken what it needs, or has failed. */
  end({ page }: Place, failed: boolean): void {
    page.broken ||= failed;
    if (--page.reads > 0) return;
    this.open = this.open.filter((each) => each !== page);
    if (page.broken) {
      this.staging.discard(page.host);
      return;
    }
    page.host.unmap();
    this.staging.release(page.host);
  }

  private openPage(bytes: number): Page {
    const { staging } = this;
    const shared = this.inFlight >= maxInFlight && bytes <= shareBytes && staging.canSpare(pageBytes);
    const page = new Page(staging.acquire(shared ? pageBytes : bytes));
    this.open.push(page);
    return page;
  }

  /** Submits all that is copied so far. */
  send(): void {
    const pages = this.open;
    if (pages.length === 0) return;
    this.open = [];
    try {
      this.submit();
    } catch (error) {
      for (const page of pages) page.reject(error);
      return;
    }
    for (const page of pages) {
      this.inFlight++;
      void this.map(page.host, page.used)
        .then(page.resolve, page.reject)
        .finally(() => {
          this.inFlight--;
          if (this.inFlight < maxInFlight) this.send();
        });
    }
  }
}

/** A mapping that fails says so by rejecting; the same as a GPU error would be a second report. */
export function mapForReading(
  { device, errors }: { readonly device: GPUDevice; readonly errors: ErrorLog },
  host: GPUBuffer,
  bytes: number,
): Promise<undefined> {
  device.pushErrorScope('validation');
  try {
    return host.mapAsync(1 /* GPUMapMode.READ */, 0, bytes);
  } finally {
    errors.track(device.popErrorScope().then(() => undefined));
  }
}
