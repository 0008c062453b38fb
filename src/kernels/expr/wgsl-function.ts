/** A function of WGSL that kernels share, and the functions that it calls. */
export interface WgslFunction {
  readonly name: string;
  /**
   * `$F $I $U $B` stand for the types (f32 or vec4<f32>, ...), `$s` for the suffix that tells widths apart.
   */
  readonly text: string;
  /** In the order in which they are declared before this one. */
  readonly uses: readonly WgslFunction[];
}

/** From its text, which begins with `fn NAME$s(`. */
export const wgslFunction = (text: string, ...uses: readonly WgslFunction[]): WgslFunction => ({
  name: text.slice(3, text.indexOf('$s')),
  text,
  uses,
});

/**
 * Collects the functions that a kernel uses, with what they use, each once and in an order that WGSL accepts.
 */
export class WgslFunctions {
  private readonly text = new Map<string, string>();

  /** Name to call for the function at this width. */
  use({ name, text, uses }: WgslFunction, width: 1 | 4): string {
    const suffix = width === 4 ? '4' : '';
    const full = name + suffix;
    if (!this.text.has(full)) {
      for (const callee of uses) this.use(callee, width);
      const type = (t: string): string => (width === 4 ? `vec4<${t}>` : t);
      const types: Readonly<Record<string, string>> = {
        F: type('f32'),
        I: type('i32'),
        U: type('u32'),
        B: type('bool'),
      };
      this.text.set(full, text.replace(/\$([FIUB])/g, (_, t: string) => types[t]!).replaceAll('$s', suffix));
    }
    return full;
  }

  code(): string {
    return [...this.text.values()].join('\n');
  }
}
