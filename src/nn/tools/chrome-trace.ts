import type { HostSpan, ProfiledDispatch } from '../../device/index.js';

/**
 * An event of the Trace Event Format
 * (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): a stretch of time, or a
 * name.
 */
export interface TraceEvent {
  readonly name: string;
  /** `X`: a complete event. `M`: metadata. */
  readonly ph: 'X' | 'M';
  readonly cat?: string;
  /** Microseconds from the beginning of the profile. */
  readonly ts?: number;
  /** Microseconds. */
  readonly dur?: number;
  readonly pid: number;
  readonly tid: number;
  readonly args?: Readonly<Record<string, string>>;
}

const gpu = 1;
const javascript = 2;
const tracks = { kernels: 1, layers: 2, recording: 1 } as const;

/** Of dispatches in the order of recording and spans in the order of their ends. */
export function traceEvents(
  dispatches: readonly ProfiledDispatch[],
  spans: readonly HostSpan[],
): TraceEvent[] {
  const starts = [...dispatches.map(({ recordedMs }) => recordedMs), ...spans.map(({ startMs }) => startMs)];
  const origin = starts.reduce((least, ms) => Math.min(least, ms), Infinity);
  const micro = (ms: number): number => Math.round((ms - origin) * 1e6) / 1e3;
  const complete = (
    name: string,
    cat: string,
    [pid, tid]: readonly [number, number],
    startMs: number,
    endMs: number,
    args: Record<string, string>,
  ): TraceEvent => {
    const ts = micro(startMs);
    return { name, ph: 'X', cat, ts, dur: Math.round((micro(endMs) - ts) * 1e3) / 1e3, pid, tid, args };
  };
  const kernels = dispatches.map(({ name, path, phase, startMs, ms }) =>
    complete(name, 'kernel', [gpu, tracks.kernels], startMs, startMs + ms, { layer: path, phase }),
  );
  const layers = layerSpans(dispatches).map(({ name, path, startMs, endMs }) =>
    complete(name, 'layer', [gpu, tracks.layers], startMs, endMs, { layer: path }),
  );
  const host = [...spans]
    .sort((a, b) => a.startMs - b.startMs || b.ms - a.ms)
    .map(({ name, kind, path, startMs, ms }) =>
      complete(name, kind, [javascript, tracks.recording], startMs, startMs + ms, { layer: path }),
    );
  return [
    named('process_name', gpu, 0, 'GPU'),
    named('thread_name', gpu, tracks.kernels, 'dispatches'),
    named('thread_name', gpu, tracks.layers, 'layers'),
    named('process_name', javascript, 0, 'JavaScript'),
    named('thread_name', javascript, tracks.recording, 'recording'),
    ...kernels,
    ...layers,
    ...host,
  ];
}

const named = (name: string, pid: number, tid: number, value: string): TraceEvent => ({
  name,
  ph: 'M',
  pid,
  tid,
  args: { name: value },
});

interface LayerSpan {
  readonly name: string;
  readonly path: string;
  readonly startMs: number;
  endMs: number;
}

/**
 * Modules on the GPU's time line: neighbouring dispatches of a module are one stretch, inside that of its
 * parent.
 */
function layerSpans(dispatches: readonly ProfiledDispatch[]): LayerSpan[] {
  const done: LayerSpan[] = [];
  const open: LayerSpan[] = [];
  let end = -Infinity;
  for (const { path, phase, startMs, ms } of dispatches) {
    const names = [phase, ...(path === '' ? [] : path.split('.'))];
    const from = Math.max(startMs, end);
    end = Math.max(end, startMs + ms);
    let shared = 0;
    while (shared < open.length && open[shared]?.name === names[shared]) shared++;
    open.length = shared;
    for (let i = shared; i < names.length; i++) {
      const span = {
        name: names[i] as string,
        path: names.slice(1, i + 1).join('.'),
        startMs: from,
        endMs: end,
      };
      open.push(span);
      done.push(span);
    }
    for (const span of open) span.endMs = end;
  }
  return done;
}
