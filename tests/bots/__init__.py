"""Scripted visitors that play whole studies through the real pages: HTTP, cookies, CSRF, forms read from the HTML."""
