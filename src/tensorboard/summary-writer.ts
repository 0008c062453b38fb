import { nodeBuiltin } from '../device/adapter.js';
import { readOptions, noMore } from '../tensor/options.js';
import { SummaryEncoder, type EncoderOptions, type RecordSink } from './encoder.js';

export interface SummaryWriterOptions extends EncoderOptions {
  /** Behind the default name of the folder. Default ''. */
  comment?: string;
  /** Behind the names of the files. Default ''. */
  filenameSuffix?: string;
}

function node() {
  if (nodeBuiltin === undefined)
    throw new Error(
      'SummaryWriter: writing files needs Node; elsewhere new SummaryEncoder(...) hands the bytes to a function',
    );
  return { fs: nodeBuiltin('node:fs'), os: nodeBuiltin('node:os'), path: nodeBuiltin('node:path') };
}

/** As PyTorch's: runs/Nov18_10-20-30_host. */
function defaultFolder(hostname: string, comment: string): string {
  const [, month = '', day = '', , time = ''] = new Date().toString().split(' ');
  return `runs/${month}${day}_${time.replaceAll(':', '-')}_${hostname}${comment}`;
}

let made = 0;

/** A file that grows by whole records. */
class EventFile {
  private readonly fs = node().fs;
  private readonly descriptor: number;
  private size = 0;

  constructor(private readonly path: string) {
    // A name that is taken is an error: two writers must not share a file.
    this.descriptor = this.fs.openSync(path, 'wx');
  }

  append(record: Uint8Array): void {
    try {
      let at = 0;
      while (at < record.length)
        at += this.fs.writeSync(this.descriptor, record, at, record.length - at, this.size + at);
      this.size += record.length;
    } catch (cause) {
      // Readers stop at a record that is cut off, and would not see those behind it.
      this.fs.ftruncateSync(this.descriptor, this.size);
      throw new Error(`SummaryWriter: cannot write ${this.path}: ${(cause as Error).message}`, { cause });
    }
  }

  sync(): void {
    this.fs.fsyncSync(this.descriptor);
  }

  close(): void {
    this.fs.closeSync(this.descriptor);
  }
}

/** Files by run, each made when it gets its first record. */
class EventFiles {
  private readonly files = new Map<string, EventFile>();
  private readonly name: string;

  constructor(
    private readonly folder: string,
    suffix: string,
  ) {
    const { os } = node();
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, '0');
    this.name = `events.out.tfevents.${seconds}.${os.hostname()}.${process.pid}.${made++}${suffix}`;
  }

  readonly append: RecordSink = (record, run) => {
    let file = this.files.get(run);
    if (file === undefined) {
      const { fs, path } = node();
      const folder = path.join(this.folder, run);
      fs.mkdirSync(folder, { recursive: true });
      file = new EventFile(path.join(folder, this.name));
      this.files.set(run, file);
    }
    file.append(record);
  };

  sync(): void {
    for (const file of this.files.values()) file.sync();
  }

  close(): void {
    for (const file of this.files.values()) file.close();
    this.files.clear();
  }
}

/**
 * `torch.utils.tensorboard.SummaryWriter`: event files that TensorBoard shows. In Node; elsewhere see
 * {@link SummaryEncoder}, which has the methods.
 *
 * ```ts
 * const writer = new SummaryWriter('runs/first');
 * for (const [step, [x, y]] of batches.entries()) writer.addScalar('loss', trainStep(x, y), step);
 * await writer.close();
 * ```
 *
 * A record is written whole as soon as its values are known, so the file can be read at any time; `flush` and
 * `close` wait for values on their way and for the disk.
 */
export class SummaryWriter extends SummaryEncoder {
  protected override readonly name = 'SummaryWriter';
  /** The folder of its files. */
  readonly logDir: string;
  private readonly files: EventFiles;

  /**
   * @param logDir made if it is not there; each writer adds a file. Default: runs/ and the time and machine
   * @throws Error where there is no file system, and for a folder that cannot be made
   */
  constructor(logDir?: string, options?: SummaryWriterOptions) {
    noMore(new.target.name, arguments, 2);
    const { comment, filenameSuffix, purgeStep } = readOptions<Required<SummaryWriterOptions>>(
      'SummaryWriter',
      { comment: '', filenameSuffix: '', purgeStep: null },
      options,
    );
    if (logDir !== undefined && (typeof logDir !== 'string' || logDir === ''))
      throw new Error(`SummaryWriter: the folder must be a path, got '${String(logDir)}'`);
    const { fs, os } = node();
    const folder = logDir ?? defaultFolder(os.hostname(), comment);
    fs.mkdirSync(folder, { recursive: true });
    const files = new EventFiles(folder, filenameSuffix);
    super(files.append, { purgeStep });
    this.logDir = folder;
    this.files = files;
  }

  override async flush(): Promise<void> {
    await super.flush();
    this.files.sync();
  }

  override async close(): Promise<void> {
    try {
      await super.close();
    } finally {
      this.files.close();
    }
  }
}
