/** What the runtime asks of its arguments. */

import { DeviceError } from './errors.js';
import type { DeviceBuffer } from './pool.js';

/** @throws DeviceError when `bytes` bytes at `offset` are no words of a live buffer */
export function checkRange(
  op: string,
  buffer: DeviceBuffer,
  offset: number,
  bytes: number,
  alignment: number,
): void {
  if (!buffer.live) throw new DeviceError(`${op}: buffer '${buffer.label}' was freed before.`, op);
  if (!(offset >= 0 && bytes >= 0 && offset + bytes <= buffer.capacity)) {
    throw new DeviceError(
      `${op}: ${bytes} bytes at byte ${offset} lie outside buffer '${buffer.label}' of ${buffer.bytes} bytes.`,
      op,
    );
  }
  if (offset % alignment !== 0 || bytes % alignment !== 0) {
    throw new DeviceError(
      `${op}: ${bytes} bytes at byte ${offset} of '${buffer.label}': both must be multiples of ${alignment}.`,
      op,
    );
  }
}

export const maxGrid = 65535;

/** The device's own object crosses into native code for every number: 0.2 us each. */
export function plainLimits(limits: GPUSupportedLimits): GPUSupportedLimits {
  const plain: Record<string, unknown> = {};
  for (const name in limits) plain[name] = limits[name as keyof GPUSupportedLimits];
  return plain as unknown as GPUSupportedLimits;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function isExtent(n: number): boolean {
  return n >>> 0 === n && n <= maxGrid;
}
