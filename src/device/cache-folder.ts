import { nodeBuiltin } from './adapter.js';

/**
 * Where the engine keeps files between runs: `$KINDLING_CACHE`, or `kindling` in the system's cache folder
 * (`$XDG_CACHE_HOME`, `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`). Undefined in browsers.
 */
export function cacheFolder(): string | undefined {
  const os = nodeBuiltin?.('node:os');
  const path = nodeBuiltin?.('node:path');
  if (!os || !path) return undefined;
  const { env, platform } = process;
  const own = env['KINDLING_CACHE'];
  if (own !== undefined && own !== '') return path.resolve(own);
  const xdg = env['XDG_CACHE_HOME'];
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'kindling');
  const home = os.homedir();
  if (platform === 'darwin') return path.join(home, 'Library', 'Caches', 'kindling');
  if (platform === 'win32')
    return path.join(env['LOCALAPPDATA'] ?? path.join(home, 'AppData', 'Local'), 'kindling', 'Cache');
  return path.join(home, '.cache', 'kindling');
}
