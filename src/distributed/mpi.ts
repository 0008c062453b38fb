/**
 * The MPI library of the machine, by its C functions (MPI 3.1, https://www.mpi-forum.org/docs/). What handles
 * and constants are is not in the standard: Open MPI has addresses of its own symbols, MPICH and its kin
 * (https://www.mpich.org/abi/) fixed integers. Which of the two a library is, it says itself.
 */
/** What an element is on the wire. */
export type WireType = 'float32' | 'int32' | 'uint8' | 'float64' | 'int64';
export type ReduceOp = 'sum' | 'product' | 'min' | 'max';

type Handle = bigint | number;
type Call = ((...args: unknown[]) => number) & { async(...args: unknown[]): void };

/** What is used of koffi: the package's declarations must stand without it. */
interface Loader {
  config(settings?: Readonly<Record<string, number>>): Readonly<Record<string, number>>;
  load(path: string, options: { readonly global: boolean }): Library;
}
interface Library {
  func(declaration: string): Call;
  symbol(name: string): unknown;
}

/** What the two families of libraries differ in. */
interface Abi {
  readonly name: string;
  readonly handle: 'void *' | 'int';
  readonly world: Handle;
  readonly types: Readonly<Record<WireType, Handle>>;
  readonly ops: Readonly<Record<ReduceOp, Handle>>;
  readonly inPlace: bigint;
  readonly ignoreStatus: bigint;
  /** `MPI_COMM_TYPE_SHARED`: the processes of one host. */
  readonly sharedHost: number;
  readonly nullInfo: Handle;
}

const openMpiTypes: Record<WireType, string> = {
  float32: 'float',
  int32: 'int32_t',
  uint8: 'uint8_t',
  float64: 'double',
  int64: 'int64_t',
};
const openMpiOps: Record<ReduceOp, string> = { sum: 'sum', product: 'prod', min: 'min', max: 'max' };

const mapValues = <K extends string, A, B>(record: Record<K, A>, f: (value: A) => B): Record<K, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value as A)])) as Record<K, B>;

function openMpi(lib: Library): Abi {
  const address = (name: string): bigint => {
    const symbol: unknown = lib.symbol(name);
    if (typeof symbol !== 'bigint') throw new Error(`distributed: this Open MPI has no symbol ${name}`);
    return symbol;
  };
  return {
    name: 'Open MPI',
    handle: 'void *',
    world: address('ompi_mpi_comm_world'),
    types: mapValues(openMpiTypes, (name) => address(`ompi_mpi_${name}`)),
    ops: mapValues(openMpiOps, (name) => address(`ompi_mpi_op_${name}`)),
    inPlace: 1n,
    ignoreStatus: 0n,
    sharedHost: 0,
    nullInfo: address('ompi_mpi_info_null'),
  };
}

const mpich: Abi = {
  name: 'MPICH',
  handle: 'int',
  world: 0x44000000,
  types: {
    float32: 0x4c00040a,
    int32: 0x4c000439,
    uint8: 0x4c00013b,
    float64: 0x4c00080b,
    int64: 0x4c00083a,
  },
  ops: { max: 0x58000001, min: 0x58000002, sum: 0x58000003, product: 0x58000004 },
  inPlace: 0xffff_ffff_ffff_ffffn,
  ignoreStatus: 1n,
  sharedHost: 1,
  nullInfo: 0x1c000000,
};

/** Names under which systems have it; the first that loads is taken. `KINDLING_MPI` goes before. */
const candidates = (): readonly string[] => {
  const named = process.env['KINDLING_MPI'];
  if (named !== undefined && named !== '') return [named];
  // The launcher is of the same family as the library must be.
  const open = ['libmpi.so.40', 'libmpi.so.80', 'libmpi.40.dylib'];
  const others = ['libmpich.so.12', 'libmpi.so.12', 'libmpich.so', 'libmpi.12.dylib'];
  const byLauncher = process.env['OMPI_COMM_WORLD_SIZE'] !== undefined ? [open, others] : [others, open];
  return [...byLauncher.flat(), 'libmpi.so', 'libmpi.dylib'];
};

async function loadKoffi(): Promise<Loader> {
  try {
    const koffi = (await import('koffi')).default as unknown as Loader;
    // MPICH needs more than the 128 KiB that a thread of koffi has by itself.
    koffi.config({ ...koffi.config(), async_stack_size: 4 * 2 ** 20 });
    return koffi;
  } catch (error) {
    throw new Error('distributed: the package koffi is missing, by which MPI is called: npm install koffi', {
      cause: error,
    });
  }
}

/**
 * Keeps the library in memory until the process has ended. koffi lets it go before that, when its threads,
 * which end later, have still to run what the library has left for their end: a crash.
 */
function pin(lib: Library, path: string): void {
  if (process.platform !== 'linux') return;
  const [lazy, noDelete] = [0x1, 0x1000];
  lib.func('void *dlopen(const char *path, int flags)')(path, lazy | noDelete);
}

function loadLibrary(koffi: Loader): { lib: Library; path: string } {
  const failures: string[] = [];
  for (const path of candidates()) {
    try {
      // Open MPI's own plug-ins look for its symbols among the global ones.
      const lib = koffi.load(path, { global: true });
      pin(lib, path);
      return { lib, path };
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(
    'distributed: no MPI library was found; install Open MPI or MPICH (Debian: apt-get install openmpi-bin), or name ' +
      `the library in KINDLING_MPI. Tried: ${failures.join('; ')}`,
  );
}

const threadSerialized = 2;
const threadLevels = ['single', 'funneled', 'serialized', 'multiple'];

/** Elements per call at most: MPI counts in 32-bit integers. */
const chunk = 2 ** 30;

/** @internal A started operation, to be asked whether it is done. */
export interface Started {
  done(): boolean;
}

/** @internal The library, initialised. */
export class Mpi {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;

  private constructor(
    private readonly abi: Abi,
    private readonly calls: Readonly<Record<string, Call>>,
    /** As the library calls itself, in one line. */
    readonly version: string,
  ) {
    const provided = [0];
    this.check('MPI_Init_thread', null, null, threadSerialized, provided);
    const level = provided[0] ?? 0;
    if (level < threadSerialized)
      throw new Error(
        `distributed: ${version} offers the thread level '${threadLevels[level] ?? level}' only; kindling calls it ` +
          `from one thread at a time ('serialized'): use a build of MPI with threads`,
      );
    this.rank = this.asked('MPI_Comm_rank', this.abi.world);
    this.size = this.asked('MPI_Comm_size', this.abi.world);
    const host = Buffer.alloc(8);
    this.check('MPI_Comm_split_type', abi.world, abi.sharedHost, 0, abi.nullInfo, host);
    const local = abi.handle === 'int' ? host.readInt32LE(0) : host.readBigUInt64LE(0);
    this.localRank = this.asked('MPI_Comm_rank', local);
    this.localSize = this.asked('MPI_Comm_size', local);
  }

  static async load(): Promise<Mpi> {
    const koffi = await loadKoffi();
    const { lib, path } = loadLibrary(koffi);
    const text = Buffer.alloc(8192);
    const length = [0];
    const ask = lib.func('int MPI_Get_library_version(char *text, _Out_ int *length)');
    ask(text, length);
    const version =
      text
        .toString('utf8', 0, length[0])
        .split(/[\n,\0]/)[0]
        ?.replace(/\s+/g, ' ')
        .trim() ?? '';
    const abi = /open mpi/i.test(version)
      ? openMpi(lib)
      : /mpich|intel|mvapich|cray/i.test(version)
        ? mpich
        : null;
    if (abi === null)
      throw new Error(
        `distributed: ${path} calls itself '${version}'; Open MPI and MPICH with its kin (Intel MPI, MVAPICH, Cray) are known`,
      );
    const H = abi.handle;
    const declarations: Readonly<Record<string, string>> = {
      MPI_Init_thread: 'int MPI_Init_thread(void *argc, void *argv, int required, _Out_ int *provided)',
      MPI_Comm_rank: `int MPI_Comm_rank(${H} comm, _Out_ int *rank)`,
      MPI_Comm_size: `int MPI_Comm_size(${H} comm, _Out_ int *size)`,
      MPI_Comm_split_type: `int MPI_Comm_split_type(${H} comm, int type, int key, ${H} info, void *out)`,
      MPI_Iallreduce: `int MPI_Iallreduce(void *from, void *to, int n, ${H} type, ${H} op, ${H} comm, void *request)`,
      MPI_Test: 'int MPI_Test(void *request, _Out_ int *done, void *status)',
      MPI_Allreduce: `int MPI_Allreduce(void *from, void *to, int n, ${H} type, ${H} op, ${H} comm)`,
      MPI_Allgather: `int MPI_Allgather(void *from, int n, ${H} type, void *to, int m, ${H} type2, ${H} comm)`,
      MPI_Alltoall: `int MPI_Alltoall(void *from, int n, ${H} type, void *to, int m, ${H} type2, ${H} comm)`,
      MPI_Bcast: `int MPI_Bcast(void *data, int n, ${H} type, int root, ${H} comm)`,
      MPI_Reduce_scatter_block: `int MPI_Reduce_scatter_block(void *from, void *to, int n, ${H} type, ${H} op, ${H} comm)`,
      MPI_Barrier: `int MPI_Barrier(${H} comm)`,
      MPI_Error_string: 'int MPI_Error_string(int code, char *text, _Out_ int *length)',
      MPI_Finalize: 'int MPI_Finalize()',
      MPI_Abort: `int MPI_Abort(${H} comm, int code)`,
      // Of the C library, on which every MPI is built.
      _exit: 'void _exit(int code)',
    };
    return new Mpi(
      abi,
      mapValues(declarations, (c) => lib.func(c)),
      version,
    );
  }

  private call(name: string): Call {
    const call = this.calls[name];
    if (call === undefined) throw new Error(`internal: ${name} is not declared`);
    return call;
  }

  private check(name: string, ...args: unknown[]): void {
    this.checkCode(name, this.call(name)(...args));
  }

  private checkCode(name: string, code: number): void {
    if (code === 0) return;
    const text = Buffer.alloc(1024);
    const length = [0];
    this.call('MPI_Error_string')(code, text, length);
    throw new Error(`distributed: ${name} failed: ${text.toString('utf8', 0, length[0])}`);
  }

  private asked(name: string, comm: Handle): number {
    const answer = [0];
    this.check(name, comm, answer);
    return answer[0] as number;
  }

  /** Runs in a thread of its own, so that the event loop goes on; one at a time. */
  private async(name: string, ...args: unknown[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.call(name).async(...args, (error: unknown, code: number) => {
        try {
          if (error) throw error instanceof Error ? error : new Error(String(error));
          this.checkCode(name, code);
          resolve();
        } catch (failure) {
          reject(failure instanceof Error ? failure : new Error(String(failure)));
        }
      });
    });
  }

  /** The largest of each place over all ranks, in place; started only, so that waiting needs no thread. */
  startMax(values: Int32Array): Started {
    const request = Buffer.alloc(16);
    const { inPlace, types, ops, world, ignoreStatus } = this.abi;
    this.check('MPI_Iallreduce', inPlace, values, values.length, types.int32, ops.max, world, request);
    const flag = [0];
    return {
      done: () => {
        this.check('MPI_Test', request, flag, ignoreStatus);
        // `values` and `request` must live until then.
        return flag[0] !== 0 && values.length > 0 && request.length > 0;
      },
    };
  }

  /** Reduces over all ranks, in place. */
  async allReduce(data: WireArray, type: WireType, op: ReduceOp): Promise<void> {
    const { inPlace, types, ops, world } = this.abi;
    for (let at = 0; at < data.length; at += chunk) {
      const part = data.subarray(at, at + chunk);
      await this.async('MPI_Allreduce', inPlace, part, part.length, types[type], ops[op], world);
    }
  }

  async broadcast(data: WireArray, type: WireType, source: number): Promise<void> {
    for (let at = 0; at < data.length; at += chunk) {
      const part = data.subarray(at, at + chunk);
      await this.async('MPI_Bcast', part, part.length, this.abi.types[type], source, this.abi.world);
    }
  }

  /** Each rank's `from`, one after another. */
  async allGather(from: WireArray, to: WireArray, type: WireType): Promise<void> {
    const { types, world } = this.abi;
    if (from.length > chunk)
      throw new RangeError(`distributed: allGather of more than ${chunk} elements per rank`);
    if (from.length === 0) return;
    await this.async('MPI_Allgather', from, from.length, types[type], to, from.length, types[type], world);
  }

  /** Block `r` of each rank's `from` goes to rank `r`, which has them one after another. */
  async allToAll(from: WireArray, to: WireArray, type: WireType): Promise<void> {
    const { types, world } = this.abi;
    const count = from.length / this.size;
    if (count > chunk)
      throw new RangeError(`distributed: allToAll of more than ${chunk} elements per pair of ranks`);
    if (count === 0) return;
    await this.async('MPI_Alltoall', from, count, types[type], to, count, types[type], world);
  }

  /** The reduction's block of this rank. */
  async reduceScatter(from: WireArray, to: WireArray, type: WireType, op: ReduceOp): Promise<void> {
    const { types, ops, world } = this.abi;
    if (to.length > chunk)
      throw new RangeError(`distributed: reduceScatter of more than ${chunk} elements per rank`);
    if (to.length === 0) return;
    await this.async('MPI_Reduce_scatter_block', from, to, to.length, types[type], ops[op], world);
  }

  /**
   * Its launcher (Hydra) sends SIGUSR1 where a process has died and it was told to leave the others, and
   * loses what was written just before an abort.
   */
  get isMpich(): boolean {
    return this.abi === mpich;
  }

  finalize(): void {
    this.check('MPI_Finalize');
  }

  /** Ends this process, now: an ordinary end waits for threads, and one may be in a call without end. */
  quit(code: number): void {
    this.call('_exit')(code);
  }

  /** Ends all processes of the job. */
  abort(code: number): void {
    this.call('MPI_Abort')(this.abi.world, code);
  }
}

/** What goes over the wire. */
export type WireArray = Float32Array | Int32Array | Uint8Array | Float64Array | BigInt64Array;
