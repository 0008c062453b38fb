/**
 * Values of files as short text, for messages, keys and listings: bounded in time and length whatever they
 * hold.
 */

import { HostTensor } from './host-tensor.js';
import { OpaqueObject, PickleGlobal } from './pickle-types.js';

const maxDepth = 3;
const maxNodes = 64;

/**
 * A value on one line, at most about `limit` characters of it. A value may hold itself, or hold others so
 * often that writing them all out would never end: what is deep is `...`, and so is everything past the first
 * 64 values.
 */
export function render(value: unknown, limit = 120): string {
  let nodes = maxNodes;
  const text = (item: unknown, depth: number): string => {
    if (nodes-- <= 0) return '...';
    if (typeof item === 'string') return JSON.stringify(cut(item, limit));
    if (typeof item === 'bigint') return cut(item.toString(), limit);
    if (item === null || item === undefined) return 'None';
    if (typeof item !== 'object') return String(item);
    if (item instanceof HostTensor) return `<${item.dtype} tensor [${item.shape.join(', ')}]>`;
    if (item instanceof OpaqueObject) return item.toString();
    if (item instanceof PickleGlobal) return item.path;
    if (item instanceof Uint8Array) return `<${item.length} bytes>`;
    const open = Array.isArray(item) ? '[]' : item instanceof Set || item instanceof Map ? '{}' : null;
    if (open === null) return '<object>';
    if (depth === maxDepth) return '...';
    const parts: string[] = [];
    let length = 0;
    for (const entry of item as Iterable<unknown>) {
      if (nodes <= 0 || length > limit) {
        parts.push('...');
        break;
      }
      const part =
        item instanceof Map
          ? `${text((entry as [unknown, unknown])[0], depth + 1)}: ${text((entry as [unknown, unknown])[1], depth + 1)}`
          : text(entry, depth + 1);
      length += part.length;
      parts.push(part);
    }
    return `${open[0]}${parts.join(', ')}${open[1]}`;
  };
  return cut(text(value, 0), limit);
}

/** A key of a dict as text: strings as they are, everything else rendered. */
export function keyText(key: unknown): string {
  return typeof key === 'string' ? key : render(key);
}

const cut = (text: string, limit: number): string =>
  text.length > limit ? `${text.slice(0, limit)}...` : text;
