/** What the data room can do with files; only for Node. */
export { loadCIFAR10, type LoadCIFAR10Options, loadCIFAR100, type LoadCIFAR100Options } from './cifar.js';
export { decodeImage, defaultMaxPixels, type ImageOptions, readImage } from './image.js';
export { ImageFolder, imageExtensions, type ImageFolderOptions, type ImageListing } from './image-folder.js';
export { loadFashionMNIST, loadMNIST, type LoadMNISTOptions } from './mnist.js';
