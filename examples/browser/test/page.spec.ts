import { readFileSync } from 'node:fs';
import { expect, test, type Page } from '@playwright/test';
import * as k from 'kindling';

const notice = (page: Page) => page.locator('.notice');
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

async function open(page: Page, path = './'): Promise<void> {
  await page.goto(path);
  await expect(button(page, 'Add a class')).toBeEnabled();
}

/** Three classes of 24 made-up pictures, of which six are held out. */
async function useExample(page: Page): Promise<void> {
  await open(page);
  await button(page, 'Use made-up pictures').click();
  await expect(notice(page)).toHaveText(/^Three classes/);
}

async function train(page: Page, epochs: number, name = 'Train'): Promise<void> {
  await page.getByLabel('Epochs').fill(String(epochs));
  await button(page, name).click();
}

/** What the held-out pictures' figure says, in percent. */
async function heldOut(page: Page): Promise<number> {
  return parseFloat(await page.locator('.figures div:nth-child(3) dd').innerText());
}

/** As a driver's crash does; of this browser alone. */
async function killGpuProcess(page: Page): Promise<void> {
  const session = await page.context().browser()?.newBrowserCDPSession();
  const { processInfo = [] } = (await session?.send('SystemInfo.getProcessInfo')) ?? {};
  const ids = processInfo.filter(({ type }) => type === 'GPU').map(({ id }) => id);
  expect(ids).toHaveLength(1);
  for (const id of ids) process.kill(id, 'SIGKILL');
}

/** Into the folder that KINDLING_SCREENSHOTS names, if it does. */
async function screenshot(page: Page, name: string): Promise<void> {
  const folder = process.env['KINDLING_SCREENSHOTS'];
  if (!folder) return;
  const width = page.viewportSize()?.width ?? 1280;
  // As high as the page is, so that what is said at the bottom covers nothing.
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width, height });
  await page.screenshot({ path: `${folder}/${name}.png` });
}

test('learns three shapes that its network has never seen', async ({ page }) => {
  await useExample(page);
  await train(page, 30);
  await expect(notice(page)).toHaveText(/^Done after epoch 30/);
  expect(await heldOut(page)).toBeGreaterThanOrEqual(80);
  await expect(page.locator('.confusion tbody tr')).toHaveCount(3);
  await expect(page.locator('.curves svg')).toHaveCount(2);

  await button(page, 'One of these').click();
  await expect(page.locator('.confidences li')).toHaveCount(3);
  const shares = await page.locator('.confidences .share').allInnerTexts();
  expect(shares.reduce((sum, text) => sum + parseFloat(text), 0)).toBeCloseTo(100, 0);
  await screenshot(page, 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await screenshot(page, 'dark');
});

test('stops when told, and trains on from there', async ({ page }) => {
  await useExample(page);
  await train(page, 1000);
  await expect(page.getByText(/^Epoch \d+ of 1000/)).toBeVisible();
  await button(page, 'Stop').click();
  await expect(notice(page)).toHaveText(/^Stopped after epoch \d+/);
  const epoch = Number(/epoch (\d+)/.exec(await notice(page).innerText())?.[1]);
  await train(page, 2, 'Train on');
  await expect(notice(page)).toHaveText(new RegExp(`^Done after epoch ${epoch + 2}`));
});

test('answers while it trains', async ({ page }) => {
  await useExample(page);
  await train(page, 1000);
  await expect(page.getByText(/^Epoch \d+ of 1000/)).toBeVisible();
  // The longest time for which the page could not react.
  const longest = await page.evaluate(async () => {
    let worst = 0;
    for (let i = 0, last = performance.now(); i < 50; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      const now = performance.now();
      worst = Math.max(worst, now - last - 10);
      last = now;
    }
    return worst;
  });
  expect(longest).toBeLessThan(500);
  await button(page, 'Stop').click();
  await expect(notice(page)).toHaveText(/^Stopped/);
});

test('survives the loss of the GPU', async ({ page }) => {
  await useExample(page);
  await page.evaluate(() => {
    const said: string[] = ((window as unknown as { said: string[] }).said = []);
    const place = document.querySelector('.notice') as Element;
    new MutationObserver(() => said.push(place.textContent ?? '')).observe(place, {
      childList: true,
      characterData: true,
      subtree: true,
    });
  });
  await train(page, 1000);
  await expect(page.getByText(/^Epoch \d+ of 1000/)).toBeVisible();
  await killGpuProcess(page);
  await expect(notice(page)).toHaveText(/is back/);
  await expect(page.getByText(/^Epoch \d+ of 1000/)).toBeVisible();
  await button(page, 'Stop').click();
  await expect(notice(page)).toHaveText(/^Stopped after epoch/);
  const said = await page.evaluate(() => (window as unknown as { said: string[] }).said);
  expect(said[0]).toMatch(/^The GPU was lost\. Opening it again/);
  expect(said[1]).toMatch(/^The GPU was lost and is back: going on from epoch \d+/);
  expect(await heldOut(page)).toBeGreaterThanOrEqual(80);
});

test('saves a file that Node and the page itself read, offline too', async ({ page, context }) => {
  await useExample(page);
  await train(page, 30);
  await expect(notice(page)).toHaveText(/^Done/);
  const downloading = page.waitForEvent('download');
  await button(page, 'Save').click();
  const file = await (await downloading).path();

  const checkpoint = await k.loadCheckpoint(new Uint8Array(readFileSync(file)));
  const card = JSON.parse(String(checkpoint.extra.get('kindling'))) as { model: string; classes: string[] };
  expect(card).toMatchObject({ model: 'cifar_resnet8', classes: ['drop', 'flower', 'house'] });
  await k.init();
  const model = k.models.cifarResnet8({ numClasses: 3 });
  expect(await k.loadWeights(model, checkpoint)).toMatchObject({ missingKeys: [], unexpectedKeys: [] });

  await page.evaluate(() => navigator.serviceWorker.ready);
  await context.setOffline(true);
  await open(page);
  await page.locator('header input[type=file]').setInputFiles(file);
  await expect(notice(page)).toHaveText(/knows drop, flower, house/);
  await expect(page.locator('.class')).toHaveCount(3);
  await button(page, 'Make').nth(2).click();
  await expect(page.getByLabel('Outline')).toHaveValue('house');
  await button(page, 'Make twelve').click();
  await expect(notice(page)).toHaveText(/^12 pictures/);
  await button(page, 'One of these').click();
  await expect(page.locator('.confidences li').first()).toContainText('house');

  // Two classes have pictures now, and the third is still known after training.
  await button(page, 'Make').nth(0).click();
  await button(page, 'Make twelve').click();
  await expect(page.locator('.class').nth(0).locator('.picture')).toHaveCount(12);
  await train(page, 2, 'Train on');
  await expect(notice(page)).toHaveText(/^Done after epoch 2/);
  await expect(page.locator('.confusion tbody tr')).toHaveCount(3);
});

test('is used by keyboard alone', async ({ page }) => {
  await open(page);
  const press = async (key: string, times = 1) => {
    for (let i = 0; i < times; i++) await page.keyboard.press(key);
  };
  const focus = () => page.evaluate(() => document.activeElement?.textContent ?? '');
  for (let i = 0; i < 20 && (await focus()) !== 'Add a class'; i++) await press('Tab');
  await press('Enter', 2);
  await expect(page.locator('.class')).toHaveCount(2);

  // A vertical and a horizontal line, each drawn three times with the arrows.
  for (const [number, key] of [
    [0, 'ArrowDown'],
    [1, 'ArrowRight'],
  ] as const) {
    await button(page, 'Draw').nth(number).focus();
    await press('Enter');
    for (let i = 0; i < 3; i++) {
      await page.locator('canvas.pad').focus();
      await page.keyboard.down('Shift');
      await press(key, 12);
      await page.keyboard.up('Shift');
      await press('Tab');
      await press('Enter');
    }
    await press('Escape');
    await expect(page.locator('dialog')).toHaveCount(0);
    await expect(page.locator('.class').nth(number).locator('.picture')).toHaveCount(3);
  }
  await page.getByLabel('Epochs').focus();
  await press('Enter');
  await expect(notice(page)).toHaveText(/^Done after epoch 30: 100 % of the training pictures/);
});

test('leaves the focus where a keyboard goes on', async ({ page }) => {
  const label = () =>
    page.evaluate(() => {
      const { activeElement: at } = document;
      return at?.getAttribute('aria-label') ?? at?.textContent;
    });
  await open(page);
  await button(page, 'Add a class').click();
  await button(page, 'Make').focus();
  await page.keyboard.press('Enter');
  await button(page, 'Make twelve').focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('.picture')).toHaveCount(12);
  await expect.poll(label).toBe('Make');

  await button(page, 'Remove picture 12 of Class 1').focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('.picture')).toHaveCount(11);
  await expect.poll(label).toBe('Remove picture 11 of Class 1');
  for (let i = 0; i < 11; i++) await page.keyboard.press('Enter');
  await expect(page.locator('.picture')).toHaveCount(0);
  await expect.poll(label).toBe('Name of the class');

  await button(page, 'Remove the class Class 1').focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('.class')).toHaveCount(0);
  await expect.poll(label).toBe('Add a class');
});

test('takes pictures from files and a camera, and names files that are none', async ({ page }) => {
  await open(page);
  await button(page, 'Add a class').click();
  await page.locator('.class input[type=file]').setInputFiles([
    { name: 'good.svg.png', mimeType: 'image/png', buffer: onePixel },
    { name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('not a picture') },
  ]);
  await expect(notice(page)).toHaveText(
    '1 picture added. Not a picture that this browser can read: notes.png.',
  );
  await button(page, 'Camera').click();
  await expect
    .poll(() => page.locator('video').evaluate((video: HTMLVideoElement) => video.videoWidth))
    .toBe(640);
  await button(page, 'Take a picture').click();
  await expect(page.locator('.class .picture')).toHaveCount(2);
});

test('refuses a file of another network by name, and goes on', async ({ page }) => {
  await open(page);
  await button(page, 'Network: ResNet-8').click();
  await page
    .locator('dialog input[type=file]')
    .setInputFiles('../../weights/shapes-cifar_resnet8.safetensors');
  await expect(notice(page)).toHaveClass(/bad/);
  await expect(notice(page)).toHaveText(/cifar_resnet8/);
  await button(page, 'Use made-up pictures').click();
  await expect(notice(page)).toHaveText(/^Three classes/);
});

test('fits a phone', async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await useExample(page);
  await train(page, 5);
  await expect(notice(page)).toHaveText(/^Done/);
  await button(page, 'One of these').click();
  await expect(page.locator('.tried')).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
  await page.setViewportSize({ width: 390, height: 740 });
  await screenshot(page, 'phone');
});

test('says what is missing where there is no WebGPU', async ({ page }) => {
  await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, 'gpu'));
  await page.goto('./');
  await expect(page.getByRole('heading', { name: 'This page needs WebGPU' })).toBeVisible();
  await screenshot(page, 'no-webgpu');
});

/** A PNG of one red pixel. */
const onePixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC',
  'base64',
);
