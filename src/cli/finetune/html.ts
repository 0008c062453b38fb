import { printableLines } from '../../tensor/printable.js';

/** Text that is safe to put into a page. */
export class Html {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

type Part = string | number | Html | readonly Part[] | null | false;

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function render(part: Part): string {
  if (part === null || part === false) return '';
  if (part instanceof Html) return part.text;
  if (Array.isArray(part)) return (part as readonly Part[]).map(render).join('');
  return printableLines(String(part as string | number)).replace(
    /[&<>"']/g,
    (character) => entities[character] ?? '',
  );
}

/**
 * A piece of a page: whatever is put in is escaped, control characters spelled out, unless it is a piece
 * itself.
 */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(
    strings.reduce(
      (text, string, i) => text + string + (i < parts.length ? render(parts[i] ?? null) : ''),
      '',
    ),
  );
}
