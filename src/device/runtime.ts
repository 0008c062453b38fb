/** Runs kernels: the one object through which everything above talks to the GPU. */

import type { Choices, Grid, Kernel, Target } from '../kernels/base/kernel.js';
import type { Launch } from '../kernels/base/plan.js';
import {
  compilesAhead,
  defaultMemoryBudget,
  idleCores,
  openDevice,
  type AdapterInfo,
  type InitOptions,
  type OpenedDevice,
} from './adapter.js';
import { Awaits } from './awaits.js';
import { Chain } from './chain.js';
import { Commits } from './commits.js';
import { BindGroupCache, type BufferArg } from './bindgroups.js';
import { GroupGarbage } from './group-garbage.js';
import { checkRange, isExtent, maxGrid, plainLimits } from './checks.js';
import { CompileAhead } from './compile-ahead.js';
import { Encoder } from './encoder.js';
import { deviceClosed, DeviceError, DeviceLostError, ErrorLog } from './errors.js';
import { FaultBuffer } from './faults.js';
import { Gate } from './gate.js';
import type { HostStepParts } from './host-parts.js';
import { UniformArena } from './params.js';
import { BufferPool, type DeviceBuffer, type MemoryStats } from './pool.js';
import { ProgramCache } from './programs.js';
import type { DeviceProfile } from './profiler.js';
import { StagingPool } from './readback.js';
import type { Recording } from './recording.js';
import { CommandStream } from './stream.js';
import { takeProfile } from './take-profile.js';
import { PoliteWaiter } from './wait.js';

/** Dispatches that fit into {@link Runtime.together} at least. */
const roomForSteps = 64;

export class Runtime {
  readonly info: AdapterInfo;
  readonly limits: GPUSupportedLimits;
  /** WebGPU features that the device was opened with, sorted. */
  readonly features: readonly string[];
  /** Bytes that one binding may cover. */
  readonly maxBinding: number;
  /** Called after a read has submitted its work and before it waits: the CPU is idle then. */
  readonly cpuIdleHook = new Set<() => void>();
  /** @internal For host-steps.ts. */
  readonly hostParts: HostStepParts;

  private planFor: Target;
  /** For other code that works on it. */
  readonly device: GPUDevice;
  private readonly errors = new ErrorLog();
  private readonly gate: Gate;
  private readonly stream: CommandStream;
  private readonly awaits: Awaits;
  private readonly chain: Chain;
  private readonly commits = new Commits();
  private readonly pool: BufferPool;
  private readonly groups: BindGroupCache;
  /** @internal */
  readonly garbage = new GroupGarbage();
  private readonly arena: UniformArena;
  private readonly encoder: Encoder;
  private readonly programs: ProgramCache;
  private readonly ahead: CompileAhead | undefined;
  private readonly faults: FaultBuffer;
  private readonly waiter: PoliteWaiter;
  private readonly timestamps: boolean;
  /** The device is the program's own. */
  private readonly shared: boolean;
  private idle = false;
  private record: Recording | null = null;

  constructor(opened: OpenedDevice, options: InitOptions) {
    const { device, target } = opened;
    this.device = device;
    this.shared = options.device !== undefined;
    this.planFor = target;
    this.info = opened.info;
    this.limits = plainLimits(device.limits);
    this.features = [...device.features].sort();
    this.maxBinding = Math.min(options.maxBinding ?? Infinity, device.limits.maxStorageBufferBindingSize);
    this.timestamps = opened.timestamps;
    // The stream closes it with its first batch, and opens the next.
    device.pushErrorScope('validation');
    device.pushErrorScope('out-of-memory');
    this.gate = new Gate(device.queue);
    const { gate, errors } = this;
    this.arena = new UniformArena(device, gate);
    this.groups = new BindGroupCache(device, this.maxBinding, this.garbage);
    this.faults = new FaultBuffer(device);
    const staging = new StagingPool(
      device,
      errors,
      gate,
      (bytes) => this.pool.makeRoom(bytes),
      () => this.pool.left,
      (bytes, reason) => this.pool.refused(bytes, 'read', reason),
    );
    this.chain = new Chain(device, gate);
    this.waiter = new PoliteWaiter(target.kind === 'software');
    const hooks = {
      beforeSubmit: () => this.arena.upload(),
      afterSubmit: () => this.pool.afterSubmit(),
      madeSince: () => this.groups.madeSince(),
    };
    this.stream = new CommandStream(target.kind, device, errors, this.chain, this.commits, hooks, gate);
    this.pool = new BufferPool(
      device,
      options.memoryBudget ?? defaultMemoryBudget(target),
      this.maxBinding,
      errors,
      gate,
      this.stream,
      staging,
      (block) => this.groups.evict(block),
    );
    if (compilesAhead(opened)) {
      this.ahead = new CompileAhead({
        helpers: idleCores(),
        isBusy: () => this.stream.isBusy,
        open: () => openDevice({ ...options, device: undefined, wrapDevice: undefined }),
        wait: (promise) => this.waiter.during(promise),
      });
    }
    this.encoder = new Encoder(gate, this.stream, this.arena, this.faults);
    this.programs = new ProgramCache(
      device,
      target,
      opened.immediateSize,
      this.arena,
      this.errors,
      (kernel) => {
        if (this.ahead === undefined) return;
        // While the driver compiles for a batch it makes no pipelines: the shaders after it would not be
        // known yet.
        this.stream.hold();
        this.ahead.note(kernel);
      },
    );

    const { stream, chain, commits, waiter } = this;
    const parts = { device, errors, stream, gate, chain, commits, staging, waiter };
    this.hostParts = { ...parts, isIdle: () => this.idle, recording: () => this.record };
    this.awaits = new Awaits({
      ...parts,
      faults: this.faults,
      faultSites: this.programs.faultSites,
      garbage: this.garbage,
      onIdle: () => this.cpuIdleHook.forEach((hook) => hook()),
    });
    this.errors.track(
      device.popErrorScope().then((error) => {
        if (error !== null) this.errors.record(this.pool.refused(0, 'init', error.message));
      }),
    );
    this.errors.watch(device, !this.shared, () => gate.line?.abandon());
  }

  /** The device is gone: every further operation throws {@link DeviceLostError}. */
  get isLost(): boolean {
    return this.errors.fatal instanceof DeviceLostError;
  }

  /** @internal Rejects when something that every later operation needs could not be made. */
  async ready(): Promise<void> {
    this.stream.check();
    await this.errors.settle();
    const error = this.errors.take();
    if (error)
      throw new DeviceError(`init: the device could not be set up: ${error.message}`, 'init', {
        cause: error,
      });
  }

  /** What plans are made for. */
  get target(): Target {
    return this.planFor;
  }

  /** Plans made from now on follow `tuning`; undefined for the table of tiles alone. */
  useTuning(tuning: Choices | undefined): void {
    const { tuning: _, ...plain } = this.planFor;
    this.planFor = tuning === undefined ? plain : { ...plain, tuning };
  }

  /**
   * Memory of at least `bytes` bytes with undefined contents. `label` (the op or parameter it is for) is
   * shown in errors and statistics.
   *
   * @throws OutOfMemoryError past the budget; the engine stays usable.
   */
  alloc(bytes: number, label: string): DeviceBuffer {
    if (this.errors.fatal) throw this.errors.fatal;
    const buffer = this.pool.alloc(bytes, label);
    this.record?.allocated(buffer);
    return buffer;
  }

  /** Gives memory back. Commands recorded so far still see it; later allocations may reuse it. */
  free(buffer: DeviceBuffer): void {
    this.pool.release(buffer);
  }

  /** True within {@link withoutWork}. */
  get isIdle(): boolean {
    return this.idle;
  }

  /**
   * Runs `fn` (synchronous) without its GPU work: nothing is compiled, dispatched, copied or uploaded.
   * Shapes, strides and memory come out as always; the contents of all that `fn` makes or writes are
   * undefined.
   */
  withoutWork<T>(fn: () => T): T {
    const before = this.idle;
    this.idle = true;
    try {
      return fn();
    } finally {
      this.idle = before;
    }
  }

  /**
   * Records one dispatch. A grid with a zero dimension does nothing.
   *
   * @param buffers one per `kernel.bindings`, in order
   * @param params one number per `kernel.params`, in order
   * @throws DeviceError for a wrong number of buffers or params, a grid past 65,535, a freed buffer, a buffer
   * that is written and bound twice, or a kernel whose shader was refused earlier
   */
  dispatch(kernel: Kernel, buffers: readonly BufferArg[], params: readonly number[], grid: Grid): void {
    if (this.errors.fatal) throw this.errors.fatal;
    if (this.idle) return;
    let program = this.programs.get(kernel);
    if (program.pipeline.error) program = this.programs.again(kernel, program);
    const { name, layout } = program;
    const raises = program.faultSite > 0;
    if (buffers.length + Number(raises) !== layout.bindings.length) {
      throw new DeviceError(
        `${name}: ${buffers.length} buffers given, the kernel binds ${layout.bindings.length - Number(raises)}.`,
        name,
      );
    }
    const x = grid[0];
    const y = grid[1];
    const z = grid[2];
    if (!isExtent(x) || !isExtent(y) || !isExtent(z)) {
      throw new DeviceError(
        `${name}: grid [${x}, ${y}, ${z}] is invalid; each dimension is an integer from 0 to ${maxGrid} (see foldGrid).`,
        name,
      );
    }
    const { stream } = this;
    const packer = program.params;
    if (packer) packer.pack(params);
    else if (params.length > 0) {
      throw new DeviceError(`${name}: ${params.length} params given, the kernel takes none.`, name);
    }
    if (x === 0 || y === 0 || z === 0) return;
    this.encoder.makeRoom(program);

    const bound = raises ? [...buffers, this.faults.buffer] : buffers;
    const entry = this.groups.get(layout, bound, stream.serial, name);
    this.record?.dispatched(program, entry, buffers, [x, y, z]);
    this.encoder.dispatch(program, entry, packer?.buffer, x, y, z);
  }

  /**
   * Launches that happen as a whole or not at all: not, when work recorded before did not run (out of memory,
   * a shader that was refused), or when one of them cannot be made. Each kernel's first binding is a `guard`,
   * which is not among `buffers`.
   *
   * @param undo takes back what was noted on the host, should it turn out that the launches did not happen;
   * called before the await that reports the error rejects
   * @throws as {@link dispatch}; nothing has been recorded then
   */
  commit(launches: readonly Launch<BufferArg>[], undo: () => void): void {
    if (this.errors.fatal) throw this.errors.fatal;
    if (this.idle) return;
    this.record?.refuse("it changes state outside of an optimizer's step()");
    const { stream } = this;
    // What is given up below, should that fail, is nobody else's.
    this.awaits.sendReads();
    if (!this.arena.hasRoom(launches.length)) stream.flush();
    for (const { kernel, buffers } of launches) {
      let program = this.programs.get(kernel);
      if (program.pipeline.error) program = this.programs.again(kernel, program);
      this.groups.get(program.layout, [this.chain.guard, ...buffers], stream.serial, kernel.name);
    }
    this.commits.add(stream.serial, undo);
    try {
      stream.together(() => {
        for (const { kernel, buffers, params, grid } of launches)
          this.dispatch(kernel, [this.chain.guard, ...buffers], params, grid);
      });
    } catch (error) {
      stream.discard();
      throw error;
    }
    if (stream.isDue) stream.flush();
  }

  /** What `fn` (synchronous) records is submitted together: all of it runs, or none. */
  together<R>(fn: () => R): R {
    if (!this.arena.hasRoom(roomForSteps)) this.stream.flush();
    return this.stream.together(fn);
  }

  /** What is being recorded. */
  get recording(): Recording | null {
    return this.record;
  }

  /**
   * Runs `fn` (synchronous) and has `recording`, a fresh one, note what it asks for, memory included, which
   * {@link forgetRecording} gives back.
   */
  recordCalls(recording: Recording, fn: () => void): void {
    if (this.record !== null)
      throw new DeviceError('compile: a compiled function is called while another is recorded.', 'compile');
    this.record = recording;
    try {
      fn();
      recording.checkReads();
    } catch (error) {
      recording.release((buffer) => this.pool.release(buffer));
      throw error;
    } finally {
      this.record = null;
    }
    recording.close();
    for (const block of recording.own) this.pool.pin(block);
  }

  /** Asks for all of `recording` again. */
  replay(recording: Recording): void {
    if (this.errors.fatal) throw this.errors.fatal;
    recording.run(this.encoder, () => this.stream.serial);
  }

  /** Gives the memory of `recording` back. */
  forgetRecording(recording: Recording): void {
    recording.release((buffer) => this.pool.release(buffer));
    for (const block of recording.own) this.pool.unpin(block);
  }

  /** Counts the times that work was lost; what was computed before the last one may never have been. */
  get breaks(): number {
    return this.commits.breaks;
  }

  /** Copies `bytes` bytes; offsets and `bytes` are multiples of 4. */
  copy(src: DeviceBuffer, srcOffset: number, dst: DeviceBuffer, dstOffset: number, bytes: number): void {
    this.check('copy', src, srcOffset, bytes, 4);
    this.check('copy', dst, dstOffset, bytes, 4);
    if (bytes === 0 || this.idle) return;
    if (src.block === dst.block) {
      // WebGPU has no copy within one buffer.
      const between = this.alloc(bytes, 'copy');
      this.copy(src, srcOffset, between, 0, bytes);
      this.copy(between, 0, dst, dstOffset, bytes);
      this.free(between);
      return;
    }
    this.encoder.copy(src, srcOffset, dst, dstOffset, bytes);
    this.record?.copied({ src, srcOffset, dst, dstOffset, bytes });
  }

  /** Sets `bytes` bytes to zero; `offset` and `bytes` are multiples of 4. */
  clear(buffer: DeviceBuffer, offset: number, bytes: number): void {
    this.check('clear', buffer, offset, bytes, 4);
    if (bytes === 0 || this.idle) return;
    this.encoder.clear(buffer, offset, bytes);
    this.record?.cleared({ buffer, offset, bytes });
  }

  /**
   * Uploads `data`, ordered after every command recorded so far. `offset` is a multiple of 4. Data that ends
   * inside a word is padded with zeros, which is only possible at the end of the buffer.
   */
  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void {
    const bytes = data.byteLength;
    this.check('write', buffer, offset, bytes, 1);
    if (offset % 4 !== 0 || (bytes % 4 !== 0 && offset + bytes < buffer.bytes)) {
      throw new DeviceError(
        `write: ${bytes} bytes at byte ${offset} of '${buffer.label}' (${buffer.bytes} bytes) do not fall on whole words of 4 bytes.`,
        buffer.label,
      );
    }
    if (bytes === 0 || this.idle) return;
    this.record?.written(buffer, offset, () => {
      const kept = this.pool.alloc(bytes, 'compile (constant)', this.record?.own);
      this.encoder.write(kept, 0, data);
      return kept;
    });
    this.encoder.write(buffer, offset, data);
  }

  /**
   * Downloads `bytes` bytes as they are after every command recorded so far, into a fresh ArrayBuffer.
   *
   * @throws (rejects) DeviceError: the GPU's errors since the last await, naming the op
   * @throws (rejects) DataError: what kernels found wrong with their values, likewise
   */
  async read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.check('read', buffer, offset, bytes, 1);
    this.record?.noteRead();
    if (bytes === 0) return new ArrayBuffer(0);
    return this.awaits.read(buffer, offset, bytes);
  }

  /** Submits what is recorded. */
  flush(): void {
    this.stream.flush();
  }

  /** Submits what is recorded and waits until the GPU has done it. Rejects like {@link read}. */
  async synchronize(): Promise<void> {
    this.record?.noteRead();
    await this.awaits.synchronize();
  }

  memoryStats(): MemoryStats {
    return this.pool.stats();
  }

  /** Bytes of the memory budget that no live buffer takes. */
  get memoryLeft(): number {
    return this.pool.left;
  }

  /** A step of training has been recorded: what the next ones ask for is likely to be the same. */
  endStep(): void {
    this.pool.endStep();
  }

  /** Starts a new peak at what is live now. */
  resetPeakMemory(): void {
    this.pool.resetPeak();
  }

  /** Dispatches by kernel name since the start or {@link resetOpCounts}. */
  opCounts(): Map<string, number> {
    return this.programs.counts();
  }

  resetOpCounts(): void {
    this.programs.resetCounts();
  }

  /** Pipelines compiled since the device was opened. */
  pipelineCount(): number {
    return this.programs.pipelineCount();
  }

  /** Runs `fn` and measures the GPU time of every kernel that it launches. Slower than running it plainly. */
  async profile<T>(fn: () => T | Promise<T>): Promise<DeviceProfile<T>> {
    const { device, stream, gate, encoder, waiter, timestamps } = this;
    const synchronize = (): Promise<void> => this.synchronize();
    return takeProfile({ device, stream, gate, encoder, waiter, timestamps, synchronize }, fn);
  }

  /** @internal */
  destroy(): void {
    this.errors.fatal = deviceClosed();
    this.ahead?.close();
    this.gate.line?.abandon();
    if (!this.shared) {
      this.device.destroy();
      return;
    }
    // Others go on with the device: what they record must not meet our scopes, nor do without our memory.
    if (this.stream.hasWork) this.stream.discard();
    this.device.popErrorScope().catch(() => undefined);
    this.pool.destroyAll();
  }

  /** Memory that somebody else made and will destroy; whole words of 16 bytes. */
  adopt(gpu: GPUBuffer, bytes: number, label: string): DeviceBuffer {
    return this.pool.adopt(gpu, bytes, label);
  }

  private check(op: string, buffer: DeviceBuffer, offset: number, bytes: number, alignment: number): void {
    if (this.errors.fatal) throw this.errors.fatal;
    checkRange(op, buffer, offset, bytes, alignment);
  }
}
