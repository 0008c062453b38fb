/**
 * Who is there: a TCP connection from each rank to rank 0, over which nothing is said while all goes well. A
 * process that ends closes it; a link that breaks is noticed by the system's keep-alive probes, in about ten
 * seconds. MPI itself says nothing of either: its calls wait for ever.
 */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import type { Mpi } from './mpi.js';

/** @internal A process of the job. */
export interface Member {
  readonly rank: number;
  readonly host: string;
  readonly pid: number;
}

type Message =
  | { readonly hello: Member; readonly token: string }
  | { readonly members: readonly Member[] }
  | { readonly gone: number; readonly orderly: boolean }
  | { readonly where: number; readonly from: number }
  | { readonly at: string; readonly rank: number; readonly to: number }
  | { readonly bye: number };

/** Milliseconds within which a connection at the start must come about. */
const openWithin = 60_000;
const keepAliveAfter = 1000;
const addressBytes = 2048;

interface Address {
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly string[];
  readonly token: string;
}

/** Calls `take` with each line's message. */
function listen(socket: Socket, take: (message: Message) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.setKeepAlive(true, keepAliveAfter);
  socket.setNoDelay(true);
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(JSON.parse(line) as Message);
  });
  // What follows is a close.
  socket.on('error', () => undefined);
}

const say = (socket: Socket, message: Message): boolean => socket.write(`${JSON.stringify(message)}\n`);

async function publish(mpi: Mpi, address: Address | null): Promise<Address> {
  const bytes = new Uint8Array(addressBytes);
  if (address !== null) {
    const text = Buffer.from(JSON.stringify(address));
    if (text.length > addressBytes)
      throw new Error('distributed: rank 0 has too many network addresses to tell');
    bytes.set(text);
  }
  await mpi.broadcast(bytes, 'uint8', 0);
  return JSON.parse(Buffer.from(bytes).toString('utf8').replace(/\0+$/, '')) as Address;
}

const addressesHere = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address);

async function connected(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 5000 });
    socket.once('connect', () => {
      socket.setTimeout(0);
      resolve(socket);
    });
    socket.once('timeout', () => socket.destroy(new Error(`${host}: no answer within 5 s`)));
    socket.once('error', reject);
  });
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`distributed: ${what} did not come about within ${openWithin / 1000} s`));
    }, openWithin);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @internal */
export class Watch {
  /** By rank. */
  members: readonly Member[] = [];
  /** Ranks that are gone, in the order in which it was noticed, and whether they had said so. */
  readonly gone = new Map<number, { readonly orderly: boolean }>();
  /** What this rank is doing, for those who ask. */
  doing = 'has called nothing yet';
  private readonly sockets = new Map<number, Socket>();
  private readonly answers = new Map<number, string>();
  private readonly listeners = new Set<() => void>();
  private server: Server | null = null;
  private closing = false;

  private constructor(
    private readonly rank: number,
    readonly size: number,
  ) {}

  /** Connects all ranks of a job. */
  static async open(mpi: Mpi): Promise<Watch> {
    const watch = new Watch(mpi.rank, mpi.size);
    const self: Member = { rank: mpi.rank, host: hostname(), pid: process.pid };
    if (mpi.rank === 0) await watch.gather(mpi, self);
    else await watch.join(await publish(mpi, null), self);
    for (const socket of watch.sockets.values()) socket.unref();
    watch.server?.unref();
    return watch;
  }

  private async gather(mpi: Mpi, self: Member): Promise<void> {
    const members: Member[] = [self];
    const token = `${process.pid}-${Date.now()}-${Math.random()}`;
    const server = createServer();
    this.server = server;
    const all = new Promise<void>((resolve) => {
      if (mpi.size === 1) resolve();
      server.on('connection', (socket) => {
        listen(socket, (message) => {
          if ('hello' in message) {
            // A stranger's connection, a port scan say, is none of ours.
            if (message.token !== token) return void socket.destroy();
            members[message.hello.rank] = message.hello;
            this.attach(message.hello.rank, socket);
            if (this.sockets.size === mpi.size - 1) resolve();
          } else this.take(message);
        });
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, resolve);
    });
    const { port } = server.address() as AddressInfo;
    await publish(mpi, { host: self.host, port, addresses: addressesHere(), token });
    await within(all, 'connections from all ranks to rank 0');
    this.members = members;
    for (const socket of this.sockets.values()) say(socket, { members });
  }

  private async join({ host, port, addresses, token }: Address, self: Member): Promise<void> {
    const tried: string[] = [];
    for (const address of [...(host === self.host ? ['127.0.0.1'] : []), ...addresses]) {
      try {
        const socket = await connected(address, port);
        const told = new Promise<void>((resolve) => {
          listen(socket, (message) => {
            if ('members' in message) {
              this.members = message.members;
              resolve();
            } else this.take(message);
          });
        });
        this.attach(0, socket);
        say(socket, { hello: self, token });
        await within(told, `the list of ranks from rank 0 on ${host}`);
        return;
      } catch (error) {
        tried.push(`${address}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    throw new Error(`distributed: rank 0 on ${host} cannot be reached: ${tried.join('; ')}`);
  }

  private attach(rank: number, socket: Socket): void {
    this.sockets.set(rank, socket);
    socket.on('close', () => {
      this.note(rank, false);
    });
  }

  private take(message: Message): void {
    if ('gone' in message) this.note(message.gone, message.orderly);
    else if ('bye' in message) this.note(message.bye, true);
    else if ('where' in message) this.answer(message.where, message.from);
    else if ('at' in message) this.deliver(message);
  }

  private note(rank: number, orderly: boolean): void {
    if (this.closing || this.gone.has(rank)) return;
    this.gone.set(rank, { orderly });
    if (this.rank === 0)
      for (const [other, socket] of this.sockets)
        if (other !== rank && !this.gone.has(other)) say(socket, { gone: rank, orderly });
    for (const listener of [...this.listeners]) listener();
  }

  /** Calls `listener` when a rank has gone. */
  onGone(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** In words, for messages. */
  nameOf(rank: number): string {
    const member = this.members[rank];
    return member === undefined ? `rank ${rank}` : `rank ${rank} (${member.host}, process ${member.pid})`;
  }

  /** Messages between others go by rank 0. */
  private deliver(message: Extract<Message, { at: string }>): void {
    if (message.to === this.rank) this.answers.set(message.rank, message.at);
    else this.send(message.to, message);
  }

  private send(to: number, message: Message): void {
    const socket = this.sockets.get(this.rank === 0 ? to : 0);
    if (socket !== undefined && !socket.destroyed) say(socket, message);
  }

  private answer(where: number, from: number): void {
    if (where === this.rank) this.send(from, { at: this.doing, rank: this.rank, to: from });
    else this.send(where, { where, from });
  }

  /** What the other ranks are doing; of those that do not answer within two seconds, that. */
  async ask(): Promise<ReadonlyMap<number, string>> {
    this.answers.clear();
    for (let rank = 0; rank < this.size; rank++)
      if (rank !== this.rank) this.send(rank, { where: rank, from: this.rank });
    const until = performance.now() + 2000;
    while (this.answers.size < this.size - 1 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const silent: [number, string][] = Array.from({ length: this.size }, (_, rank) => [
      rank,
      'does not answer',
    ]);
    return new Map(
      silent
        .map(([rank, text]): [number, string] => [rank, this.answers.get(rank) ?? text])
        .filter(([rank]) => rank !== this.rank),
    );
  }

  /** Leaves the job in good order. */
  close(): void {
    this.closing = true;
    for (const socket of this.sockets.values()) {
      say(socket, { bye: this.rank });
      socket.end();
    }
    this.server?.close();
  }
}
