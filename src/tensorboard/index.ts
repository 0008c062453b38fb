/** `torch.utils.tensorboard`: what TensorBoard shows of a training. `kindling/tensorboard`. */
export {
  SummaryEncoder,
  type EncoderOptions,
  type EventOptions,
  type ImageOptions,
  type ImagesOptions,
  type PrCurveOptions,
  type RecordSink,
} from './encoder.js';
export type { BatchFormat, DataFormat } from './image.js';
export { SummaryWriter, type SummaryWriterOptions } from './summary-writer.js';
export type { HparamValue } from './types.js';
