/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders that tests fill and take away again, and single bits changed in their files.
 */
#ifndef KP_TESTS_FOLDER_H
#define KP_TESTS_FOLDER_H

#define FOLDER_PATH 64 /* bytes of a path that folder_make makes */

/* A new, empty folder below $TMPDIR or /tmp whose name says what it is for. Fails the test. */
void folder_make(const char *what, char out[FOLDER_PATH]);

/* Removes a folder and everything below it, on that file system only. 0, or -1 with errno. */
int folder_remove(const char *dir);

/* Size of a file, bytes. Fails the test. */
long file_size(const char *path);

/* Turns the bits of mask in the byte at an offset over; twice is as before. Fails the test. */
void file_flip(const char *path, long offset, int mask);

#endif
