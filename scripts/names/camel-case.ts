/** kindling's name for one of PyTorch's: `index_add_` is `indexAdd_`. */
export const camelCase = (name: string): string =>
  name.replace(/(?<=.)_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
