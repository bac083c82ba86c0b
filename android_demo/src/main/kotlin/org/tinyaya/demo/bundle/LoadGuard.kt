package org.tinyaya.demo.bundle

import java.io.File
import java.io.FileOutputStream
import java.io.IOException

/**
 * Remembers across a crash that a load was under way.
 *
 * A program that kills the process while it loads would do so at every start of the app. So the mark
 * is on the disk before the load begins, and goes when it ended in any way that code can see.
 */
class LoadGuard(private val mark: File) {
    /** The bundle whose load never ended; null if the last one did. */
    val failed: String? get() = if (mark.isFile) mark.readText().trim().ifEmpty { "?" } else null

    /** Runs [load] under the mark; an exception is an end, a crash is none. */
    fun <T> run(bundle: String, load: () -> T): T {
        try {
            mark.parentFile?.mkdirs()
            FileOutputStream(mark).use {
                it.write(bundle.toByteArray())
                it.fd.sync()
            }
        } catch (error: IOException) {
            throw MissingFileError("$mark cannot be written (${error.message}); free some space", error)
        }
        try {
            return load()
        } finally {
            clear()
        }
    }

    /** The user wants to try again. */
    fun clear() {
        mark.delete()
    }
}
