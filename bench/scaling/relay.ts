/**
 * A wire with a delay: `relay MILLISECONDS DEVICE...` makes TUN devices and carries each one's IPv4 packets,
 * so much later, to the device whose place is the last part of the packet's address (from 1). Says `ready`
 * when they are there, and ends with its standard input. A thread per device.
 */
import { openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import koffi from 'koffi';

interface Wire {
  readonly from: number;
  readonly all: readonly number[];
  readonly delay: number;
}

const c = koffi.load('libc.so.6');
const ioctl = c.func('int ioctl(int file, unsigned long request, void *argument)');
const ppoll = c.func('int ppoll(void *files, unsigned long count, void *timeout, void *mask)');
const read = c.func('long read(int file, void *to, size_t length)');
const write = c.func('long write(int file, void *from, size_t length)');

/** `linux/if_tun.h`: the device of this name, for packets without a header of their own. */
const setInterface = 0x400454ca;
const tunWithoutHeader = 0x1001;

function openTun(name: string): number {
  const file = openSync('/dev/net/tun', 'r+');
  // struct ifreq: sixteen bytes of name, then flags.
  const request = Buffer.alloc(40);
  request.write(name, 'latin1');
  request.writeInt16LE(tunWithoutHeader, 16);
  if (ioctl(file, setInterface, request) !== 0)
    throw new Error(`relay: no TUN device ${name}: ${koffi.errno()}`);
  return file;
}

const readable = 1;
const slots = 16384;
const slotBytes = 9216;

/** For ever. */
function carry({ from, all, delay }: Wire): void {
  const memory = Buffer.alloc(slots * slotBytes);
  const packets = Array.from({ length: slots }, (_, i) =>
    memory.subarray(i * slotBytes, (i + 1) * slotBytes),
  );
  const due = new Float64Array(slots);
  const lengths = new Int32Array(slots);
  let [first, end] = [0, 0];
  // struct pollfd, struct timespec.
  const poll = Buffer.alloc(8);
  poll.writeInt32LE(from, 0);
  poll.writeInt16LE(readable, 4);
  const timeout = Buffer.alloc(16);
  for (;;) {
    const now = performance.now();
    while (first < end && (due[first % slots] as number) <= now) {
      const packet = packets[first % slots] as Buffer;
      const to = all[(packet[19] as number) - 1];
      if (to !== undefined) write(to, packet, lengths[first % slots]);
      first++;
    }
    const wait = first < end ? Math.max(0, (due[first % slots] as number) - now) : 1000;
    timeout.writeBigInt64LE(BigInt(Math.floor(wait / 1000)), 0);
    timeout.writeBigInt64LE(BigInt(Math.floor((wait % 1000) * 1e6)), 8);
    if (end - first === slots || (ppoll(poll, 1, timeout, null) as number) < 1) continue;
    const packet = packets[end % slots] as Buffer;
    const length = read(from, packet, slotBytes) as number;
    // Not IPv4, or nothing after all.
    if (length < 20 || (packet[0] as number) >> 4 !== 4) continue;
    lengths[end % slots] = length;
    due[end % slots] = performance.now() + delay;
    end++;
  }
}

if (isMainThread) {
  const [delay, ...names] = process.argv.slice(2);
  const all = names.map(openTun);
  for (const from of all)
    new Worker(fileURLToPath(import.meta.url), {
      workerData: { from, all, delay: Number(delay) } satisfies Wire,
    });
  process.stdin.on('end', () => process.exit(0)).resume();
  console.log('ready');
} else carry(workerData as Wire);
