/** A file server that misbehaves as told, on this machine only. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Behaviour {
  /** Answer this status, once per entry, before serving. */
  statuses?: number[];
  /** Close the connection after this many bytes of a body; one entry per answer. */
  cutAfter?: (number | null)[];
  /** Stop sending, without closing, after this many bytes; one entry per answer. */
  stallAfter?: (number | null)[];
  /** Ignore `Range`. */
  noRanges?: boolean;
  /** Answer 206 though `If-Range` no longer holds. */
  ignoreIfRange?: boolean;
  /** Added to Content-Length. */
  lengthLie?: number;
  /** Send without Content-Length. */
  chunked?: boolean;
  /** No ETag and no Last-Modified. */
  noValidators?: boolean;
  /** Milliseconds between pieces of 16 KiB. */
  pace?: number;
  /** Half of the body is sent only once this is fulfilled. */
  hold?: Promise<void>;
  redirect?: string;
}

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  status: number;
  /** Bytes of the body that were sent. */
  sent: number;
}

export class FileServer {
  behaviour: Behaviour = {};
  readonly requests: Request[] = [];
  etag = '"v1"';
  private readonly server = createServer((request, response) => void this.answer(request, response));

  constructor(public content: Buffer) {}

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  url(path = 'model.pth'): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/files/${path}`;
  }

  get sha256(): string {
    return createHash('sha256').update(this.content).digest('hex');
  }

  reset(behaviour: Behaviour = {}): void {
    this.behaviour = behaviour;
    this.requests.length = 0;
  }

  /** The bytes asked for since the last reset. */
  get bytesSent(): number {
    return this.requests.reduce((sum, { sent }) => sum + sent, 0);
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { behaviour, content } = this;
    const seen: Request = {
      method: request.method ?? '',
      path: request.url ?? '',
      range: request.headers.range,
      ifRange: request.headers['if-range'] as string | undefined,
      status: 200,
      sent: 0,
    };
    this.requests.push(seen);
    const finish = (status: number, headers: Record<string, string | number> = {}): void => {
      seen.status = status;
      response.writeHead(status, headers).end();
    };
    const status = behaviour.statuses?.shift();
    if (status !== undefined) return finish(status);
    if (behaviour.redirect !== undefined && seen.path.endsWith('moved.pth'))
      return finish(302, { location: behaviour.redirect });

    let from = 0;
    const wanted = /^bytes=(\d+)-$/.exec(seen.range ?? '')?.[1];
    const valid =
      seen.ifRange === undefined || seen.ifRange === this.etag || behaviour.ignoreIfRange === true;
    const headers: Record<string, string | number> = {};
    if (behaviour.noValidators !== true) headers['etag'] = this.etag;
    if (wanted !== undefined && valid && behaviour.noRanges !== true) {
      from = Number(wanted);
      if (from >= content.length) return finish(416, { 'content-range': `bytes */${content.length}` });
      seen.status = 206;
      headers['content-range'] = `bytes ${from}-${content.length - 1}/${content.length}`;
    }
    const body = content.subarray(from);
    if (behaviour.chunked !== true) headers['content-length'] = body.length + (behaviour.lengthLie ?? 0);
    const cut = behaviour.cutAfter?.shift() ?? null;
    const stall = behaviour.stallAfter?.shift() ?? null;
    response.writeHead(seen.status, headers);
    const end = Math.min(
      cut ?? Infinity,
      stall ?? Infinity,
      body.length + Math.min(0, behaviour.lengthLie ?? 0),
    );
    const step = behaviour.pace === undefined && behaviour.hold === undefined ? end : 16 * 1024;
    while (seen.sent < end && !response.destroyed) {
      const part = body.subarray(seen.sent, Math.min(end, seen.sent + step));
      await new Promise<void>((resolve) => response.write(part, () => resolve()));
      seen.sent += part.length;
      if (seen.sent > end / 2) await behaviour.hold;
      if (behaviour.pace !== undefined) await new Promise((resolve) => setTimeout(resolve, behaviour.pace));
    }
    if (stall !== null) return;
    if (cut !== null || (behaviour.lengthLie ?? 0) > 0) {
      // What was written reaches the client before the connection breaks.
      setTimeout(() => response.destroy(), 20);
      return;
    }
    response.end();
  }
}

/** Bytes that no compression and no accident reproduces. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
