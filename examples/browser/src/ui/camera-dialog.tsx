import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { Dialog } from './dialog.js';

/** Where the page may ask for a camera at all. */
export const hasCamera = 'mediaDevices' in navigator;

interface Properties {
  readonly onPicture: (picture: HTMLVideoElement) => void;
  readonly onClose: () => void;
}

export function CameraDialog({ onPicture, onClose }: Properties) {
  const video = useRef<HTMLVideoElement>(null);
  const problem = useSignal('');
  const taken = useSignal(0);
  useEffect(() => {
    let stream: MediaStream | undefined;
    let closed = false;
    const open = async () => {
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
        if (closed) stream.getTracks().forEach((track) => track.stop());
        else if (video.current) video.current.srcObject = stream;
      } catch (error) {
        problem.value = error instanceof Error ? error.message : String(error);
      }
    };
    void open();
    return () => {
      closed = true;
      stream?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  return (
    <Dialog title="Take pictures" onClose={onClose}>
      {problem.value ? (
        <p class="reason">There is no camera to use: {problem}.</p>
      ) : (
        <video ref={video} class="pad" autoPlay muted playsInline aria-label="What the camera sees" />
      )}
      <div class="row">
        <button
          type="button"
          class="primary"
          disabled={problem.value !== ''}
          onClick={() => {
            if (!video.current || video.current.videoWidth === 0) return;
            onPicture(video.current);
            taken.value++;
          }}
        >
          Take a picture
        </button>
        <span aria-live="polite">{taken.value > 0 && `${taken} taken`}</span>
      </div>
    </Dialog>
  );
}
