/** download hands the reader a file that was put together here. */
export function download(name: string, media: string, content: string): void {
  const url = URL.createObjectURL(new Blob([content], { type: media }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // not every browser has read it by now
}
