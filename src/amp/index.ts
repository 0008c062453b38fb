/** `torch.amp`: automatic mixed precision. */
export { autocast, clearAutocastCache, isAutocastEnabled, type AutocastOptions } from './autocast.js';
export { GradScaler, type GradScalerOptions, type GradScalerState } from './grad-scaler.js';
