/** Errors of the device room, and the log that carries asynchronous GPU errors to the next await. */

/** Something the GPU or its driver refused. `op` is the kernel or the buffer label at fault, when known. */
export class DeviceError extends Error {
  override name = 'DeviceError';
  constructor(
    message: string,
    readonly op?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The device is gone, and with it what was on it. `init()` opens another; `restore` brings a training back.
 */
export class DeviceLostError extends DeviceError {
  override name = 'DeviceLostError';
  constructor(reason: string) {
    super(
      `The GPU device was lost${reason === '' ? '' : ` (${reason})`}. Call \`await init()\` again, and \`restore\` what was trained from ` +
        'a snapshot or a checkpoint; other tensors on it are gone.',
    );
  }
}

/** WGSL that does not compile. The message quotes the failing line. */
export class ShaderError extends DeviceError {
  override name = 'ShaderError';
}

/**
 * Values that an op cannot work with, found by the GPU: an index outside its dim, an integer result outside
 * int32. The engine stays usable; what the op wrote is undefined.
 */
export class DataError extends Error {
  override name = 'DataError';
  constructor(
    message: string,
    readonly op: string,
  ) {
    super(message);
  }
}

/** What this builds on did not run; why is reported on its own. */
export class DroppedError extends Error {
  override name = 'DroppedError';
  constructor() {
    super('the work before it did not run');
  }
}

/** A request that does not fit the memory budget (or the GPU's memory). The engine stays usable. */
export class OutOfMemoryError extends DeviceError {
  override name = 'OutOfMemoryError';
  constructor(
    message: string,
    op: string,
    /** Size of the request in bytes. */
    readonly bytes: number,
  ) {
    super(message, op);
  }
}

/**
 * Collects what the GPU reports asynchronously. `settle` waits for every check that is under way, `take`
 * hands out the errors as one and forgets them.
 */
export const deviceClosed = (): DeviceError =>
  new DeviceError('The device was closed: call `await init()` again; tensors on it are gone.');

export class ErrorLog {
  private readonly pending = new Set<Promise<void>>();
  private errors: DeviceError[] = [];
  /** Set when the device is gone for good; every later operation throws it. */
  fatal: DeviceError | undefined;

  /** @param all errors in nobody's scope too: on a device of ours alone they can only be ours */
  watch(device: GPUDevice, all: boolean, onLost: () => void): void {
    if (all)
      device.addEventListener('uncapturederror', (event) => {
        event.preventDefault();
        this.record(new DeviceError(`GPU error: ${event.error.message}`));
      });
    void device.lost.then(({ message }) => {
      this.fatal ??= new DeviceLostError(message.trim());
      onLost();
    });
  }

  record(error: DeviceError): void {
    this.errors.push(error);
  }

  /** `error` has been thrown where it arose. */
  forget(error: DeviceError): void {
    this.errors = this.errors.filter((other) => other !== error);
  }

  get isSettled(): boolean {
    return this.pending.size === 0;
  }

  /**
   * Follows a promise that may record an error; a rejection means that the device died, which `fatal`
   * reports.
   */
  track(check: Promise<void>): void {
    const tracked = check.then(
      () => void this.pending.delete(tracked),
      () => void this.pending.delete(tracked),
    );
    this.pending.add(tracked);
  }

  async settle(): Promise<void> {
    while (this.pending.size > 0) await Promise.all(this.pending);
  }

  /** The errors so far as one error: the root cause first. What merely came of it is left out. */
  take(): DeviceError | undefined {
    if (this.fatal !== undefined || this.errors.length === 0) {
      this.errors = [];
      return this.fatal;
    }
    const errors = this.errors;
    this.errors = [];
    const causes = errors.filter((error) => !isConsequence(error));
    const first = causes.find((e) => e instanceof ShaderError) ?? causes[0] ?? errors[0]!;
    const others = causes.filter((error) => error !== first);
    if (others.length > 0) {
      first.message += `\n(and ${others.length} more GPU error${others.length > 1 ? 's' : ''}; first: ${others[0]!.message})`;
    }
    return first;
  }
}

/** Commands that used an object which was refused before; in Dawn's words, and others'. */
function isConsequence(error: DeviceError): boolean {
  return (
    !(error instanceof ShaderError || error instanceof OutOfMemoryError) && / is invalid/.test(error.message)
  );
}

/** `1.5 MiB` */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`;
  if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}
