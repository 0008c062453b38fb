/** Longest side of a picture that is kept, in pixels: more than any network here looks at. */
const keptSide = 256;

/** What the browser can draw: its middle as a square, at most {@link keptSide} pixels wide. */
export async function squareOf(source: ImageBitmapSource): Promise<ImageBitmap> {
  const whole = await createImageBitmap(source);
  const side = Math.min(whole.width, whole.height);
  const kept = Math.min(side, keptSide);
  const square = await createImageBitmap(
    whole,
    Math.floor((whole.width - side) / 2),
    Math.floor((whole.height - side) / 2),
    side,
    side,
    { resizeWidth: kept, resizeHeight: kept, resizeQuality: 'high' },
  );
  whole.close();
  return square;
}

export interface ReadFiles {
  readonly pictures: readonly ImageBitmap[];
  /** Names of files that are no pictures to this browser. */
  readonly refused: readonly string[];
}

export async function readFiles(files: Iterable<File>): Promise<ReadFiles> {
  const pictures: ImageBitmap[] = [];
  const refused: string[] = [];
  for (const file of files) {
    try {
      pictures.push(await squareOf(file));
    } catch {
      refused.push(file.name);
    }
  }
  return { pictures, refused };
}

export function download(bytes: Uint8Array<ArrayBuffer>, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
