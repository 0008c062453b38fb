const camelCase = /^[a-z][a-zA-Z0-9]*$/;
const known = new Map<string, string>();

/**
 * PyTorch's name for a camelCase property: `runningMean` is `running_mean` and `inProjWeight` is
 * `in_proj_weight`. Names that are not camelCase (`layer1`, `conv2d_1a_3x3`, `Mixed_5b`, `0`) are already
 * what they should be.
 */
export function snakeCase(property: string): string {
  let name = known.get(property);
  if (name === undefined) {
    name = camelCase.test(property)
      ? property
          .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
          .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
          .toLowerCase()
      : property;
    known.set(property, name);
  }
  return name;
}
