import { useEffect, useRef } from 'preact/hooks';

export function Thumbnail({ bitmap, size, label }: { bitmap: ImageBitmap; size: number; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context || bitmap.width === 0) return;
    context.clearRect(0, 0, size, size);
    context.imageSmoothingEnabled = bitmap.width > size;
    context.drawImage(bitmap, 0, 0, size, size);
  }, [bitmap, size]);
  return <canvas ref={canvas} width={size} height={size} role="img" aria-label={label} />;
}
