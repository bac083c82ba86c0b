package org.tinyaya.demo.model

import android.os.SharedMemory
import android.system.ErrnoException
import org.tinyaya.demo.bundle.ProgramError
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Anonymous memory of the kernel, outside the Java heap. */
class SharedCacheMemory : CacheMemory {
    private val regions = mutableListOf<Pair<SharedMemory, ByteBuffer>>()

    override fun allocate(bytes: Int): ByteBuffer =
        try {
            val region = SharedMemory.create("cache", bytes)
            val buffer = region.mapReadWrite()
            regions += region to buffer
            buffer.order(ByteOrder.nativeOrder())
        } catch (error: ErrnoException) {
            throw ProgramError("the system gives no $bytes bytes for the caches (${error.message}); close other apps", error)
        }

    override fun close() {
        for ((region, buffer) in regions) {
            SharedMemory.unmap(buffer)
            region.close()
        }
        regions.clear()
    }
}
