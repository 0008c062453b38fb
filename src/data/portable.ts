/**
 * Where something can be imported from: the export `name` of `module` (a `file:` URL, such as
 * `import.meta.url`).
 */
export interface ModuleExport {
  readonly module: string | URL;
  readonly name: string;
}

/** What a worker thread needs to make an object again. */
export interface Portable {
  /** The exported class, or function that returns the object. */
  source?(): ModuleExport | undefined;
  /** Arguments for it: plain data, arrays and objects of it, and other portable things. None unless told. */
  settings?(): readonly unknown[];
}

/** `source()` of a class: undefined for subclasses, which would lose what they add. */
export function exportedClass(
  instance: object,
  exported: { readonly name: string },
  module: string,
  name: string,
): ModuleExport | undefined {
  return instance.constructor === exported ? { module, name } : undefined;
}
