/** Trainings on disk (Node): a folder with checkpoints and history, which a run goes on from. */
export { RunFolderError, type RunFolderProblem } from './errors.js';
export {
  RunFolder,
  type BaseConfig,
  type KeepOptions,
  type RunKind,
  type ScriptConfig,
} from './run-folder.js';
