/**
 * Text that others wrote (names, keys, metadata, class names, paths) as it may be shown: what would move the
 * cursor, change the clipboard or the title, or turn the direction of writing is spelled out instead.
 */

/**
 * Control characters (C0, DEL and C1: the last include the one-byte CSI), line and paragraph separators,
 * halves of surrogate pairs, marks of direction, invisible characters and tags. Not the joiners of Persian
 * and of emoji.
 */
const unsafe =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, '0')}` : `\\u{${digits}}`;
}

/** One line: line ends are spelled out too. */
export function printable(text: string): string {
  return text.replace(unsafe, escaped);
}

/** Text of several lines: `\n` stays, everything else is as in {@link printable}. */
export function printableLines(text: string): string {
  return text.replace(unsafe, (character) => (character === '\n' ? character : escaped(character)));
}

/**
 * JSON text, in which the same characters become escapes of JSON: they occur only inside of strings. Line
 * ends stay.
 */
export function printableJson(json: string): string {
  return json.replace(unsafe, (character) => {
    if (character === '\n') return character;
    let text = '';
    for (let i = 0; i < character.length; i++)
      text += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
    return text;
  });
}
