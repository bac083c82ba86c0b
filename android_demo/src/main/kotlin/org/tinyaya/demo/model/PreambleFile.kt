package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.ProgramError
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/** preamble.npy in, the first rows of every cache out, mapped: [layers x 2] buffers of [kv_heads, ids, head_dim]. */
internal object PreambleFile {
    private const val MAGIC = "\u0093NUMPY"
    private val DTYPES = mapOf("float32" to "<f4", "int8" to "|i1")

    fun read(bundle: Bundle, caches: Int): List<ByteBuffer> {
        val preamble = checkNotNull(bundle.manifest.preamble)
        val name = preamble.file ?: throw ProgramError("${bundle.name} names no file for its preamble; export the bundle again")
        val shape = bundle.manifest.cache.first()
        if (bundle.manifest.cache.any { it.dtype != shape.dtype || it.kvHeads != shape.kvHeads || it.headDim != shape.headDim }) {
            throw ProgramError("${bundle.name} has a preamble and caches of several kinds, which this app does not read")
        }
        val mapped = map(bundle, name)
        val header = header(mapped, name)
        val sizes = listOf(caches / 2, 2, shape.kvHeads, preamble.ids.size, shape.headDim).joinToString(", ", "(", ")")
        for (expected in listOf("'descr': '${DTYPES[shape.dtype]}'", "'fortran_order': False", "'shape': $sizes")) {
            if (expected !in header) throw ProgramError("$name says $header; expected $expected: export the bundle again")
        }
        val bytes = (shape.positionBytes / 2 * preamble.ids.size).toInt()
        if (mapped.remaining() != bytes * caches) throw ProgramError("$name has ${mapped.remaining()} bytes; expected ${bytes * caches}")
        val start = mapped.position()
        return List(caches) { index ->
            mapped.duplicate().apply { limit(start + (index + 1) * bytes).position(start + index * bytes) }.slice()
        }
    }

    private fun map(bundle: Bundle, name: String): ByteBuffer =
        try {
            RandomAccessFile(bundle.file(name), "r").use { file ->
                file.channel.map(FileChannel.MapMode.READ_ONLY, 0, file.length()).order(ByteOrder.LITTLE_ENDIAN)
            }
        } catch (error: IOException) {
            throw ProgramError("$name cannot be read (${error.message}); export it again", error)
        }

    /** The header's text; the buffer is left at the first value. */
    private fun header(file: ByteBuffer, name: String): String {
        if (file.remaining() < 12) throw ProgramError("$name is no NumPy file; export it again")
        val magic = ByteArray(MAGIC.length).also { file.get(it) }
        val version = file.get().toInt()
        file.get()
        val length = if (version == 1) file.short.toInt() and 0xffff else file.int
        if (String(magic, Charsets.ISO_8859_1) != MAGIC || length !in 0..file.remaining()) {
            throw ProgramError("$name is no NumPy file; export it again")
        }
        return String(ByteArray(length).also { file.get(it) }, Charsets.ISO_8859_1)
    }
}
