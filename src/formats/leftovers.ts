/**
 * Files that must not outlive the process: temporary ones of writes that are under way, locks. They are
 * removed when it ends by itself, by `process.exit` or by an uncaught error; nothing can be done about
 * SIGKILL.
 */

const files = new Set<string>();
let listening = false;

/**
 * Removes a file when the process ends, unless it is released before (Node).
 *
 * @returns what releases it
 */
export function removeAtExit(path: string): () => void {
  files.add(path);
  if (!listening) {
    listening = true;
    process.once('exit', () => {
      const { rmSync } = process.getBuiltinModule('node:fs');
      for (const file of files) {
        try {
          rmSync(file, { force: true });
        } catch {
          // The process ends all the same.
        }
      }
    });
  }
  return () => void files.delete(path);
}
