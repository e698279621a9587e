/** Mark is the product's sign and name. */
export function Mark() {
  return (
    <span class="mark">
      <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
        <rect width="32" height="32" rx="8" />
        <path d="M7 22.5h3.6v-6H7zM14.2 22.5h3.6v-13h-3.6zM21.4 22.5H25v-9h-3.6z" />
      </svg>
      DevOps Dashboard
    </span>
  );
}
