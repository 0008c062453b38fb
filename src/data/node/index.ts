/** What the data room can do with files; only for Node. */
export { loadCIFAR10, type LoadCIFAR10Options } from './cifar10.js';
export { decodeImage, readImage } from './image.js';
export { ImageFolder, imageExtensions, type ImageFolderOptions } from './image-folder.js';
